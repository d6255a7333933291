"""Produce one record whose header name is not UTF-8: ``odd_header SERVERS TOPIC PARTITION``.

Run with AIOKAFKA_NO_EXTENSIONS=1: aiokafka's pure-Python writer takes the name's own bytes.
"""

import asyncio
import sys

import aiokafka


class RawName(str):
    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002
        return b"odd\xff"


async def main(servers: str, topic: str, partition: int) -> None:
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        headers = [(RawName("odd"), b"1")]
        await producer.send_and_wait(topic, b"no request", partition=partition, headers=headers)
    finally:
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
