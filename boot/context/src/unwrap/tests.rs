use super::*;
use proptest::prelude::*;
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn texts(bytes: &[u8]) -> Vec<(Option<String>, String)> {
    let (parts, _) = parts(bytes);
    parts.into_iter().map(|part| (part.kind, String::from_utf8_lossy(&part.bytes).into_owned())).collect()
}

const SCRIPT: &str = "#!/bin/sh\necho hello\n";

#[test]
fn plain_gzip_base64_and_both() {
    let plain = vec![(None, SCRIPT.to_owned())];
    assert_eq!(texts(SCRIPT.as_bytes()), plain);
    assert_eq!(texts(&gzip(SCRIPT.as_bytes())), plain);
    assert_eq!(texts(STANDARD.encode(SCRIPT).as_bytes()), plain);
    let mut wrapped = STANDARD.encode(gzip(SCRIPT.as_bytes()));
    wrapped.insert(20, '\n');
    assert_eq!(texts(wrapped.as_bytes()), plain);
}

#[test]
fn parts_of_mime_with_their_encodings() {
    let document = format!(
        "From nobody\nContent-Type: multipart/mixed;\n boundary=\"==B==\"\nMIME-Version: 1.0\n\npreamble\n--==B==\r\n\
         Content-Type: text/ucernvm; charset=\"us-ascii\"\r\n\r\n[ucernvm-begin]\na=b\n[ucernvm-end]\n--==B==\n\
         Content-Type: text/x-shellscript\nContent-Transfer-Encoding: base64\n\n{}\n--==B==\n\
         Content-Type: text/cloud-config\nContent-Transfer-Encoding: quoted-printable\n\nx=3Dy=\nz\n--==B==--\nepilogue\n",
        STANDARD.encode(SCRIPT)
    );
    let found = texts(document.as_bytes());
    assert_eq!(found[0].0.as_deref(), Some("text/ucernvm"));
    assert!(found[0].1.starts_with("[ucernvm-begin]\na=b\n"));
    assert_eq!(found[1], (Some("text/x-shellscript".into()), SCRIPT.into()));
    assert_eq!(found[2], (Some("text/cloud-config".into()), "x=yz\n".into()));
    assert_eq!(found.len(), 3);
    assert_eq!(texts(&gzip(document.as_bytes())), found);
}

#[test]
fn what_unpacks_to_too_much_stays_packed() {
    let bomb = gzip(&vec![0; LARGEST_UNPACKED + 1]);
    let (parts, remarks) = parts(&bomb);
    assert_eq!(parts, [Part { kind: None, bytes: bomb }]);
    assert_eq!(remarks, ["gzip: unpacks to too much"]);
}

#[test]
fn gzip_has_several_members_or_is_torn() {
    let half = SCRIPT.len() / 2;
    let whole = [gzip(&SCRIPT.as_bytes()[..half]), gzip(&SCRIPT.as_bytes()[half..])].concat();
    assert_eq!(texts(&whole), [(None, SCRIPT.to_owned())]);
    let long = gzip(&vec![b'x'; 3 * PIECE + 1]);
    assert_eq!(gunzip(&long, LARGEST_UNPACKED).map(|plain| plain.len()), Ok(3 * PIECE + 1));
    for end in [3, 12, whole.len() - 1] {
        let (parts, remarks) = parts(&whole[..end]);
        assert_eq!((parts.len(), remarks), (1, vec!["gzip: ends too soon".to_owned()]), "{end}");
    }
    let mut spoilt = gzip(SCRIPT.as_bytes());
    let sum = spoilt.len() - 8;
    spoilt[sum] ^= 1;
    let (_, remarks) = parts(&spoilt);
    assert_eq!(remarks.len(), 1);
    assert!(remarks[0].starts_with("gzip: "), "{remarks:?}");
}

#[test]
fn layers_have_an_end() {
    let mut wrapped = SCRIPT.as_bytes().to_vec();
    for _ in 0..DEEPEST + 2 {
        wrapped = gzip(&wrapped);
    }
    let (parts, remarks) = parts(&wrapped);
    assert_eq!(parts.len(), 1);
    assert_eq!(remarks, ["wrapped too often"]);
}

#[test]
fn words_are_not_base64() {
    assert_eq!(texts(b"abcdefghijklmnopqrst"), [(None, "abcdefghijklmnopqrst".to_owned())]);
    assert_eq!(texts(b"key: value\n"), [(None, "key: value\n".to_owned())]);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (parts, _) = parts(&bytes);
        prop_assert!(parts.len() <= 1 || !bytes.is_empty());
    }

    #[test]
    fn any_mime_is_survived(text in "(Content-Type: multipart/mixed; boundary=b\n\n)?((--b(--)?|Content-Type: text/[a-z]{1,5}|[ -~]{0,20})\r?\n){0,30}") {
        let (parts, _) = parts(text.as_bytes());
        prop_assert!(parts.iter().map(|part| part.bytes.len()).sum::<usize>() <= text.len());
    }
}
