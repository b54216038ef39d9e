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

fn about(pages: &[(&str, &str)], header: Option<(&str, &str)>) -> About {
    ask(None, &mut service(pages, header)).expect("a source").about
}

#[test]
fn keys_are_taken_if_they_are_keys() {
    let first = ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA x\n<html>\n");
    let data = ("/latest/user-data", "");
    assert_eq!(about(&[data, first], None).keys, ["ssh-ed25519 AAAA x"]);
    let list = ("/latest/meta-data/public-keys/", "0=mine\n../7=no\n1=other");
    let second = ("/latest/meta-data/public-keys/1/openssh-key", "ssh-rsa B");
    assert_eq!(about(&[data, list, first, second], None).keys, ["ssh-ed25519 AAAA x", "ssh-rsa B"]);
}

#[test]
fn each_service_tells_keys_and_names() {
    let expected = |about: About, key: &str| {
        assert_eq!((about.instance.as_deref(), about.hostname.as_deref()), (Some("i-1"), Some("vm")), "{key}");
        assert_eq!(about.keys, [key]);
    };
    let ec2 = [
        ("/latest/user-data", "u"),
        ("/latest/meta-data/instance-id", "i-1\n"),
        ("/latest/meta-data/local-hostname", "vm"),
        ("/latest/meta-data/public-keys/0/openssh-key", "ssh-rsa EC2"),
    ];
    expected(about(&ec2, None), "ssh-rsa EC2");
    let described = r#"{"uuid":"i-1","hostname":"vm","public_keys":{"mine":"ssh-rsa OpenStack"}}"#;
    let open_stack = [("/openstack/2013-10-17/meta_data.json", described)];
    expected(about(&open_stack, None), "ssh-rsa OpenStack");
    let azure = [
        ("/metadata/instance/compute/vmId?api-version=2021-01-01&format=text", "i-1"),
        (
            "/metadata/instance/compute?api-version=2021-01-01&format=json",
            r#"{"vmId":"i-1","name":"vm","publicKeys":[{"keyData":"ssh-rsa Azure","path":"/home/me/.ssh/authorized_keys"}]}"#,
        ),
    ];
    expected(about(&azure, Some(("Metadata", "true"))), "ssh-rsa Azure");
    let gce = [
        ("/computeMetadata/v1/instance/id", "i-1"),
        ("/computeMetadata/v1/instance/hostname", "vm"),
        ("/computeMetadata/v1/instance/attributes/ssh-keys", "me:ssh-rsa GCE\n"),
    ];
    expected(about(&gce, Some(("Metadata-Flavor", "Google"))), "ssh-rsa GCE");
    let dhcp_server = Ipv4Addr::new(10, 0, 0, 1);
    let cloud_stack = |request: &Request| match request.path.as_str() {
        _ if request.host != "10.0.0.1" => Answer::Silence,
        "/latest/user-data" => Answer::Found(b"u".to_vec()),
        "/latest/meta-data/instance-id" => Answer::Found(b"i-1".to_vec()),
        "/latest/meta-data/local-hostname" => Answer::Found(b"vm".to_vec()),
        "/latest/meta-data/public-keys" => Answer::Found(b"ssh-rsa CloudStack".to_vec()),
        _ => Answer::Refused,
    };
    let mut request = cloud_stack;
    expected(ask(Some(dhcp_server), &mut request).expect("a source").about, "ssh-rsa CloudStack");
}

#[test]
fn keys_of_a_project_count_unless_they_are_blocked_or_expire() {
    let header = Some(("Metadata-Flavor", "Google"));
    let of = |blocked: &str| {
        let pages = [
            ("/computeMetadata/v1/instance/id", "1"),
            ("/computeMetadata/v1/instance/attributes/block-project-ssh-keys", blocked),
            ("/computeMetadata/v1/instance/attributes/ssh-keys", "a:ssh-rsa A a@b"),
            (
                "/computeMetadata/v1/project/attributes/ssh-keys",
                "b:ssh-rsa B\nc:ssh-rsa C google-ssh {\"userName\":\"c\",\"expireOn\":\"2018-12-04T20:12:00+0000\"}\n",
            ),
        ];
        about(&pages, header).keys
    };
    assert_eq!(of("FALSE"), ["ssh-rsa A a@b", "ssh-rsa B"]);
    assert_eq!(of("TRUE"), ["ssh-rsa A a@b"]);
}

#[test]
fn a_service_says_what_the_medium_of_its_cloud_does_not() {
    let pages = [
        ("/metadata/instance/compute/userData?api-version=2021-01-01&format=text", "dQ=="),
        (
            "/metadata/instance/compute?api-version=2021-01-01&format=json",
            r#"{"vmId":"i-1","name":"n","publicKeys":[{"keyData":"ssh-rsa A"}]}"#,
        ),
    ];
    let told = |source: &'static str, keys: &[&str]| UserData {
        source,
        bytes: b"of the medium".to_vec(),
        about: About {
            hostname: Some("vm".to_owned()),
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            ..About::default()
        },
    };
    let done = complete(told("Azure", &[]), &mut service(&pages, None));
    assert_eq!(done.bytes, b"of the medium");
    assert_eq!((done.about.instance.as_deref(), done.about.hostname.as_deref()), (Some("i-1"), Some("vm")));
    assert_eq!(done.about.keys, ["ssh-rsa A"]);
    for told in [told("Azure", &["ssh-rsa B"]), told("NoCloud", &[])] {
        assert_eq!(complete(told.clone(), &mut |_: &Request| panic!("nobody is asked")), told);
    }
    let silent = told("Azure", &[]);
    assert_eq!(complete(silent.clone(), &mut |_: &Request| Answer::Silence), silent);
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
