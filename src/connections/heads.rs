//! Where heads of requests end in what a client sends. Knows: that a head ends with an empty line. Must not know:
//! anything else of HTTP. An empty line in a body counts as well, which does no harm.

/// How far the line is that has begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Line {
    /// No byte of it yet.
    #[default]
    Empty,
    /// A carriage return alone.
    Return,
    /// A byte that makes it a line with something in it.
    Begun,
}

/// Finds the ends of heads in bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Heads(Line);

impl Heads {
    /// How many bytes hold at most so many ends of heads, and how many ends those are. What comes next begins with
    /// the bytes that are left out.
    pub(super) fn up_to(&mut self, most: usize, bytes: &[u8]) -> (usize, usize) {
        let (mut at, mut ends) = (0, 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if ends == most {
                return (at, ends);
            }
            at += line.len();
            let is_empty = matches!((self.0, line), (Line::Empty, b"\n" | b"\r\n") | (Line::Return, b"\n"));
            ends += usize::from(is_empty);
            self.0 = match (self.0, line) {
                (_, [.., b'\n']) => Line::Empty,
                (Line::Empty, b"\r") => Line::Return,
                _ => Line::Begun,
            };
        }
        (at, ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line() {
        for (bytes, most, found) in [
            (&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], 2, (27, 1)),
            (b"GET / HTTP/1.1\nhost: a\n\n", 2, (24, 1)),
            (b"GET / HTTP/1.1\r\nhost: a\r\n", 2, (25, 0)),
            (b"POST / HTTP/1.1\r\nhost: a\r\n\r\na=b", 2, (31, 1)),
            (b"A\r\n\r\nB\r\n\r\nC\r\n\r\n", 2, (10, 2)),
            (b"A\r\n\r\nB\r\n\r\nC\r\n\r\n", 1, (5, 1)),
            (b"A\r\n\r\nB\r\n\r\n", 0, (0, 0)),
            (b"\r\n\r\n\r\n", 2, (4, 2)),
            (b"a\r\r\n\r\r\n", 2, (7, 0)),
            (b"", 2, (0, 0)),
        ] {
            assert_eq!(Heads::default().up_to(most, bytes), found, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn however_it_is_cut_into_pieces() {
        let sent = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\nhost: b\n\nGET /c";
        for size in 1..sent.len() {
            let mut heads = Heads::default();
            let ends: usize = sent.chunks(size).map(|piece| heads.up_to(9, piece).1).sum();
            assert_eq!(ends, 2, "{size}");
        }
    }
}
