//! Draws, and the damage they do to bytes.

/// Random numbers of one case: splitmix64.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64, case: u64) -> Self {
        let mut draw = Self(seed ^ case.wrapping_mul(0xd129_0d3f_8a2b_6c55));
        draw.next();
        draw
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most) + 1;
        (0..length).map(|_| self.byte()).collect()
    }

    /// A piece of `bytes`, which is not empty: where it begins and ends.
    fn piece(&mut self, bytes: &[u8]) -> (usize, usize) {
        let from = self.below(bytes.len());
        let longest = (bytes.len() - from).min(1 << self.below(12));
        (from, from + self.below(longest) + 1)
    }
}

/// `whole`, which is not empty, damaged one to three times; `others` are what else lies about.
pub fn damaged(whole: &[u8], others: &[&[u8]], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=draw.below(3) {
        if bytes.is_empty() {
            return bytes;
        }
        damage(&mut bytes, others, draw);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, others: &[&[u8]], draw: &mut Draw) {
    let (from, to) = draw.piece(bytes);
    match draw.below(14) {
        0..=2 => bytes[from] ^= 1 << draw.below(8),
        3 => bytes[from] = draw.byte(),
        // Where text has a digit, another: the likeliest to be taken for true.
        4 | 5 => digit(bytes, from, draw),
        6 => bytes.truncate(from),
        7 => bytes.extend(draw.bytes(64)),
        8 => drop(bytes.drain(from..to)),
        9 => drop(bytes.splice(from..from, draw.bytes(16))),
        10 => bytes[from..to].fill(if draw.below(2) == 0 { 0 } else { 0xff }),
        11 => {
            let piece = bytes[from..to].to_vec();
            let at = draw.below(bytes.len());
            drop(bytes.splice(at..at, piece));
        }
        12 => bytes[from..to].rotate_left(1),
        _ => {
            let other = others[draw.below(others.len())];
            let (begin, end) = draw.piece(other);
            let to = to.min(from + (end - begin));
            drop(bytes.splice(from..to, other[begin..end].iter().copied()));
        }
    }
}

fn digit(bytes: &mut [u8], from: usize, draw: &mut Draw) {
    let found = bytes[from..].iter().position(u8::is_ascii_digit);
    if let Some(at) = found {
        bytes[from + at] = b'0' + u8::try_from(draw.below(10)).unwrap();
    }
}
