use super::*;

/// A service that answers these paths, and wants this header.
fn service<'a>(
    pages: &'a [(&'a str, &'a str)],
    header: Option<(&'a str, &'a str)>,
) -> impl FnMut(&Request) -> Answer + 'a {
    move |request| {
        if request.host != "169.254.169.254" {
            return Answer::Silence;
        }
        if request.put {
            let page = pages.iter().find(|(path, _)| *path == "PUT");
            return page.map_or(Answer::Refused, |(_, body)| Answer::Found(body.as_bytes().to_vec()));
        }
        if let Some((name, value)) = header
            && !request.headers.iter().any(|(key, given)| *key == name && given == value)
        {
            return Answer::Refused;
        }
        let page = pages.iter().find(|(path, _)| *path == request.path);
        page.map_or(Answer::Refused, |(_, body)| Answer::Found(body.as_bytes().to_vec()))
    }
}

fn found(mut request: impl FnMut(&Request) -> Answer) -> Option<(&'static str, String)> {
    ask(None, &mut request).map(|data| (data.source, String::from_utf8_lossy(&data.bytes).into_owned()))
}

#[test]
fn the_first_and_second_version_of_ec2() {
    let pages = [("/2016-04-19/user-data", "u"), ("PUT", "secret\n")];
    assert_eq!(found(service(&pages[..1], None)), Some(("EC2", "u".into())));
    assert_eq!(found(service(&pages, Some(("X-aws-ec2-metadata-token", "secret")))), Some(("EC2", "u".into())));
    assert_eq!(found(service(&pages[..1], Some(("X-aws-ec2-metadata-token", "secret")))), None);
}

#[test]
fn each_service_by_its_pages() {
    let azure = "/metadata/instance/compute/userData?api-version=2021-01-01&format=text";
    let cases = [
        ("/computeMetadata/v1/instance/attributes/user-data", Some(("Metadata-Flavor", "Google")), "u", "GCE"),
        (azure, Some(("Metadata", "true")), "dQ==", "Azure"),
        ("/openstack/2013-10-17/user_data", None, "u", "OpenStack"),
    ];
    for (path, header, body, name) in cases {
        assert_eq!(found(service(&[(path, body)], header)), Some((name, "u".into())), "{name}");
    }
}

#[test]
fn a_service_without_user_data_is_still_a_source() {
    assert_eq!(found(service(&[("/latest/meta-data/ami-id", "ami-1")], None)), Some(("EC2", String::new())));
}

#[test]
fn keys_are_taken_if_they_are_keys() {
    let pages =
        [("/latest/user-data", ""), ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA x\n<html>\n")];
    let data = ask(None, &mut service(&pages, None)).expect("a source");
    assert_eq!(data.about.keys, ["ssh-ed25519 AAAA x"]);
}

#[test]
fn a_silent_host_is_asked_once() {
    let mut asked = Vec::new();
    let none = ask(Some(Ipv4Addr::new(10, 0, 0, 1)), &mut |request: &Request| {
        asked.push(request.host.clone());
        Answer::Silence
    });
    assert_eq!(none, None);
    assert_eq!(asked, ["169.254.169.254", "10.0.0.1"]);
}

#[test]
fn a_token_cannot_add_headers() {
    let mut request = service(&[("PUT", "a\r\nHost: evil"), ("/latest/user-data", "u")], None);
    let mut clean = true;
    let data = ask(None, &mut |asked: &Request| {
        clean &= asked.headers.iter().all(|(_, value)| !value.contains('\n'));
        request(asked)
    });
    assert!(clean && data.is_some());
}

#[test]
fn files_of_no_cloud_are_where_the_machine_was_told() {
    let mut asked = Vec::new();
    let mut request = |request: &Request| {
        asked.push(format!("{}{}", request.host, request.path));
        match request.path.as_str() {
            "/seed/meta-data" => Answer::Found(b"instance-id: i-1\n".to_vec()),
            "/seed/user-data" => Answer::Found(b"u".to_vec()),
            _ => Answer::Refused,
        }
    };
    let data = ask_no_cloud("nocloud;h=vm;i=i-0;s=http://10.0.0.1:8000/seed/\n", &mut request).expect("a source");
    assert_eq!((data.source, data.bytes.as_slice()), ("NoCloud", &b"u"[..]));
    assert_eq!((data.about.hostname.as_deref(), data.about.instance.as_deref()), (Some("vm"), Some("i-1")));
    for told in
        ["nocloud", "nocloud;s=https://10.0.0.1/seed/", "None;s=http://10.0.0.1/seed/", "nocloud;s=http://10.0.0.1/x/"]
    {
        assert_eq!(ask_no_cloud(told, &mut request), None, "{told}");
    }
    assert_eq!(asked, ["10.0.0.1:8000/seed/meta-data", "10.0.0.1:8000/seed/user-data", "10.0.0.1/x/meta-data"]);
}
