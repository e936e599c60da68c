//! Standard output, on which commands give their results.
//!
//! Whoever reads them, `head` perhaps, may have read enough before all is written. That is no failure of
//! the command: what is left goes nowhere, and the exit code is that of what was done.

use std::io::{self, ErrorKind, Stdout, Write};

/// See the [module](self).
pub fn output() -> Output<Stdout> {
    Output {
        to: io::stdout(),
        read_enough: false,
    }
}

pub struct Output<W> {
    to: W,
    read_enough: bool,
}

impl<W: Write> Output<W> {
    fn unless_read_enough<T>(
        &mut self,
        instead: T,
        write: impl FnOnce(&mut W) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.read_enough {
            return Ok(instead);
        }
        match write(&mut self.to) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.read_enough = true;
                Ok(instead)
            }
            Err(error) => {
                let reason = format!("cannot write to standard output: {error}");
                Err(io::Error::new(error.kind(), reason))
            }
            Ok(written) => Ok(written),
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_read_enough(bytes.len(), |to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_read_enough((), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Reader(usize);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            match taken {
                0 => Err(ErrorKind::BrokenPipe.into()),
                taken => Ok(taken),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn who_has_read_enough_is_no_failure_and_a_full_disk_is() {
        let mut output = Output {
            to: Reader(3),
            read_enough: false,
        };
        assert_eq!(output.flush().unwrap_err().kind(), ErrorKind::StorageFull);
        output.write_all(b"more than three").unwrap();
        output.write_all(b"and more").unwrap();
        output.flush().unwrap();
    }
}
