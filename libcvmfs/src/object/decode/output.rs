use std::io::{Seek as _, Write};

/// Where plain bytes go: something to write to that can also begin again.
pub trait Output: Write {
    /// Forgets everything written: the next byte is the first one again.
    fn reset(&mut self) -> std::io::Result<()>;

    /// Writes the first `filled` bytes of a buffer and gives a buffer to go on with, which may be another one.
    fn write_buffer(&mut self, buffer: Box<[u8]>, filled: usize) -> std::io::Result<Box<[u8]>> {
        self.write_all(&buffer[..filled])?;
        Ok(buffer)
    }
}

impl Output for Vec<u8> {
    fn reset(&mut self) -> std::io::Result<()> {
        self.clear();
        Ok(())
    }
}

impl Output for std::fs::File {
    fn reset(&mut self) -> std::io::Result<()> {
        self.set_len(0)?;
        self.rewind()
    }
}

/// Discards the plain bytes: for checking an object without keeping it.
impl Output for std::io::Sink {
    fn reset(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<W: Output + ?Sized> Output for Box<W> {
    fn reset(&mut self) -> std::io::Result<()> {
        (**self).reset()
    }
}

impl<W: Output + ?Sized> Output for &mut W {
    fn reset(&mut self) -> std::io::Result<()> {
        (**self).reset()
    }
}
