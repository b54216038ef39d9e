use x509_cert::der::pem;

/// Finds the first PEM block of `label` and decodes it; text around it and odd line lengths do not matter.
/// Returns the DER bytes and what follows the block.
pub(super) fn first_block<'a>(label: &str, bytes: &'a [u8]) -> Result<(Vec<u8>, &'a [u8]), String> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let find = |haystack: &[u8], needle: &str| haystack.windows(needle.len()).position(|w| w == needle.as_bytes());
    let start = find(bytes, &begin).ok_or_else(|| format!("holds no '{begin}' line"))?;
    let body = &bytes[start + begin.len()..];
    let length = find(body, &end).ok_or_else(|| format!("has no '{end}' line"))?;
    let digits: Vec<u8> = body[..length].iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut strict = format!("{begin}\n").into_bytes();
    for line in digits.chunks(64) {
        strict.extend_from_slice(line);
        strict.push(b'\n');
    }
    strict.extend_from_slice(format!("{end}\n").as_bytes());
    let (_, der) = pem::decode_vec(&strict).map_err(|error| format!("is no intact PEM block: {error}"))?;
    Ok((der, &body[length + end.len()..]))
}
