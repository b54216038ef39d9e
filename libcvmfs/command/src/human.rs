//! Sizes for people, as `ls -h` writes them: rounded up, powers of 1024.

/// `0`, `1023`, `1.0K`, `9.9M`, `10M`, `1023G`: never shown smaller than it is.
pub fn size(bytes: u64) -> String {
    const UNITS: &[u8] = b"KMGTPE";
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut exponent = (bytes.ilog2() / 10).min(UNITS.len() as u32);
    loop {
        let unit = 1u128 << (10 * exponent);
        let tenths = (u128::from(bytes) * 10).div_ceil(unit);
        let letter = char::from(UNITS[exponent as usize - 1]);
        if tenths < 100 {
            return format!("{}.{}{letter}", tenths / 10, tenths % 10);
        }
        let whole = u128::from(bytes).div_ceil(unit);
        if whole < 1024 || exponent as usize == UNITS.len() {
            return format!("{whole}{letter}");
        }
        exponent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_rounded_up() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10 * 1024 - 1, "10K"),
            (10 * 1024 + 1, "11K"),
            (1024 * 1024 - 1, "1.0M"),
            (1023 * 1024, "1023K"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
