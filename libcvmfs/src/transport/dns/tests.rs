use super::*;
use simple_dns::ResourceRecord;
use simple_dns::rdata::{A, CNAME};
use std::net::TcpListener;

/// What a name server does with a question.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    Answers,
    AnswersThroughAnAlias,
    AnswersOverTcpOnly,
    IsImpersonatedFirst,
    KnowsNoName,
    Fails,
    Sleeps,
    TalksNonsense,
}

fn answer(query: &[u8], habit: Habit) -> Vec<u8> {
    let query = Packet::parse(query).expect("a query");
    let mut reply = Packet::new_reply(query.id());
    reply.questions = query.questions.clone();
    let name = query.questions[0].qname.clone();
    let is_a = query.questions[0].qtype == TYPE::A.into();
    match habit {
        Habit::KnowsNoName => *reply.rcode_mut() = RCODE::NameError,
        Habit::Fails => *reply.rcode_mut() = RCODE::ServerFailure,
        _ if !is_a => {}
        Habit::AnswersThroughAnAlias => {
            let target = Name::new_unchecked("real.example");
            let alias = RData::CNAME(CNAME(target.clone()));
            reply.answers.push(ResourceRecord::new(name, CLASS::IN, 100, alias));
            let address = RData::A(A { address: u32::from_be_bytes([10, 0, 0, 7]) });
            reply.answers.push(ResourceRecord::new(target, CLASS::IN, 3600, address));
        }
        _ => {
            for last in [1, 2] {
                let address = RData::A(A { address: u32::from_be_bytes([10, 0, 0, last]) });
                reply.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 300, address));
            }
        }
    }
    reply.build_bytes_vec().expect("a reply")
}

/// A port of both kinds. What is free for datagrams may belong to somebody's connections.
fn port_of_both_kinds() -> (UdpSocket, TcpListener) {
    let pair = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        UdpSocket::bind(listener.local_addr().expect("an address")).ok().map(|socket| (socket, listener))
    };
    std::iter::repeat_with(pair).take(100).flatten().next().expect("a port of both kinds")
}

fn server(habit: Habit) -> SocketAddr {
    let (socket, listener) = port_of_both_kinds();
    let address = socket.local_addr().expect("an address");
    if habit == Habit::AnswersOverTcpOnly {
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut length = [0; 2];
                stream.read_exact(&mut length).expect("a length");
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).expect("a query");
                let reply = answer(&query, habit);
                let length = u16::try_from(reply.len()).expect("short");
                stream.write_all(&length.to_be_bytes()).and_then(|()| stream.write_all(&reply)).expect("sent");
            }
        });
    }
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..length];
            let reply = match habit {
                Habit::Sleeps => continue,
                Habit::TalksNonsense => [&query[..2], &[0xff; 40]].concat(),
                Habit::AnswersOverTcpOnly => {
                    let mut reply = Packet::new_reply(Packet::parse(query).expect("a query").id());
                    reply.set_flags(PacketFlag::TRUNCATION);
                    reply.build_bytes_vec().expect("a reply")
                }
                Habit::IsImpersonatedFirst => {
                    let mut forged = answer(query, habit);
                    forged[0] ^= 0xff;
                    *forged.last_mut().expect("not empty") = 66;
                    socket.send_to(&forged, from).expect("sent");
                    answer(query, habit)
                }
                _ => answer(query, habit),
            };
            socket.send_to(&reply, from).expect("sent");
        }
    });
    address
}

fn resolver(servers: &[Habit]) -> ServerResolver {
    ServerResolver {
        servers: servers.iter().map(|habit| server(*habit)).collect(),
        timeout: Duration::from_secs(1),
        retries: 1,
        family: IpFamily::PreferV4,
    }
}

fn addresses(found: Result<Resolved, ResolveError>) -> Vec<String> {
    found.map(|found| found.addresses.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn a_name_server_is_asked() {
    for habit in [Habit::Answers, Habit::AnswersOverTcpOnly, Habit::IsImpersonatedFirst] {
        let found = resolver(&[habit]).resolve("squid.example");
        assert_eq!(addresses(found), ["10.0.0.1", "10.0.0.2"]);
    }
    let found = resolver(&[Habit::AnswersThroughAnAlias]).resolve("squid.example").expect("found");
    assert_eq!(found.ttl, Some(Duration::from_secs(100)), "the shortest on the way");
    assert_eq!(addresses(Ok(found)), ["10.0.0.7"]);
}

#[test]
fn the_next_name_server_helps_out() {
    for habit in [Habit::Fails, Habit::Sleeps, Habit::TalksNonsense] {
        assert_eq!(addresses(resolver(&[habit, Habit::Answers]).resolve("x.example")).len(), 2);
    }
}

#[test]
fn failures_are_told_apart_and_end_in_time() {
    let started = Instant::now();
    let none = resolver(&[Habit::KnowsNoName, Habit::Answers]).resolve("x.example");
    assert_eq!(none, Err(ResolveError::NoAddress("x.example".to_owned())), "a clear no is not asked again");
    assert!(matches!(resolver(&[Habit::Sleeps]).resolve("x.example"), Err(ResolveError::Timeout { .. })));
    assert!(matches!(resolver(&[Habit::Fails]).resolve("x.example"), Err(ResolveError::Other { .. })));
    assert!(resolver(&[Habit::Answers]).resolve(&"x".repeat(300)).is_err());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

struct Counting(AtomicUsize, Vec<IpAddr>, Duration);

impl Resolver for Arc<Counting> {
    fn resolve(&self, _: &str) -> Result<Resolved, ResolveError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Resolved { addresses: self.1.clone(), ttl: Some(self.2) })
    }
}

#[test]
fn answers_are_kept_within_the_bounds() {
    let asked = |ttl: u64, min: u64, max: u64, pause: u64| {
        let counting = Arc::new(Counting(AtomicUsize::new(0), vec![[1, 2, 3, 4].into()], Duration::from_millis(ttl)));
        let dns = DnsSettings {
            min_ttl: Duration::from_millis(min),
            max_ttl: Duration::from_millis(max),
            ..DnsSettings::default()
        };
        let names = Names::new(&dns, IpFamily::PreferV4, Some(Arc::new(Arc::clone(&counting))));
        for _ in 0..3 {
            names.all("x").expect("found");
        }
        std::thread::sleep(Duration::from_millis(pause));
        names.all("x").expect("found");
        names.all("10.1.1.1").expect("a literal needs nobody");
        counting.0.load(Ordering::SeqCst)
    };
    assert_eq!(asked(1, 100_000, 200_000, 60), 1, "raised to the minimum");
    assert_eq!(asked(1_000_000, 1, 2_000, 2_100), 2, "lowered to the maximum");
}

#[test]
fn families_are_preferred_not_demanded() {
    let both: Vec<IpAddr> = vec!["::1".parse().expect("v6"), [1, 2, 3, 4].into()];
    let all = |family, addresses: &[IpAddr]| {
        let counting = Arc::new(Counting(AtomicUsize::new(0), addresses.to_vec(), Duration::ZERO));
        let names = Names::new(&DnsSettings::default(), family, Some(Arc::new(counting)));
        (names.all("x").map(|f| f.0).unwrap_or_default(), names.one_family("x").map(|f| f.0).unwrap_or_default())
    };
    assert_eq!(all(IpFamily::PreferV4, &both), (vec![both[1], both[0]], vec![both[1]]));
    assert_eq!(all(IpFamily::PreferV6, &both), (vec![both[0], both[1]], vec![both[0]]));
    assert_eq!(all(IpFamily::PreferV4, &both[..1]).1, vec![both[0]]);
    assert_eq!(all(IpFamily::OnlyV4, &both[..1]).0, vec![] as Vec<IpAddr>);
}

#[test]
fn the_system_resolves_and_name_server_lists_are_read() {
    let names = Names::new(&DnsSettings::default(), IpFamily::PreferV4, None);
    assert!(names.all("localhost").expect("every system knows it").0[0].is_loopback());
    assert_eq!(
        parse_dns_servers("8.8.8.8, 1.1.1.1:5353;[::1]:53 ::1"),
        Ok(vec![
            ([8, 8, 8, 8], 53).into(),
            ([1, 1, 1, 1], 5353).into(),
            ([0, 0, 0, 0, 0, 0, 0, 1u16], 53).into(),
            ([0, 0, 0, 0, 0, 0, 0, 1u16], 53).into(),
        ])
    );
    assert!(parse_dns_servers("dns.example").is_err());
}

#[test]
fn names_are_found_without_the_c_library() {
    let directory = tempfile::tempdir().expect("a directory");
    let (hosts, configuration) = (directory.path().join("hosts"), directory.path().join("resolv.conf"));
    std::fs::write(&hosts, "10.9.9.9 near.example near\n").expect("written");
    std::fs::write(&configuration, "search example\nnameserver 127.0.0.1\noptions ndots:1\n").expect("written");
    let port = server(Habit::Answers).port();
    let files = files::FileResolver {
        hosts,
        configuration: configuration.clone(),
        port,
        timeout: Duration::from_secs(5),
        retries: 0,
        family: IpFamily::PreferV4,
    };
    assert_eq!(addresses(files.resolve("near")), ["10.9.9.9"]);
    assert_eq!(addresses(files.resolve("far")), ["10.0.0.1", "10.0.0.2"]);
    std::fs::remove_file(configuration).expect("removed");
    assert_eq!(addresses(files.resolve("far")).len(), 2, "a server of this machine is tried");
    let unknown = files::FileResolver { port: server(Habit::KnowsNoName).port(), ..files };
    assert_eq!(unknown.resolve("far"), Err(ResolveError::NoAddress("far".to_owned())));
}
