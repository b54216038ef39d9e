use super::super::groups;
use super::super::proxy_list::ProxyList;
use super::*;
use proptest::prelude::*;

fn machine_with(hosts: usize, proxies: &str, change: impl Fn(&mut Rules)) -> FailOver {
    let hosts = (0..hosts).map(|i| Host::parse(&format!("http://h{i}/x")).expect("a URL")).collect();
    let list = ProxyList::parse(proxies).expect("a list");
    let mut groups = groups::unresolved_groups(&list, &ProxyList::default());
    for group in &mut groups {
        let member = |spec: &ProxySpec| match spec {
            ProxySpec::Direct => Hop::Direct,
            ProxySpec::Http(proxy) => {
                Hop::Proxy { proxy: proxy.clone(), address: proxy.authority.name.parse().map_err(|_| "no".to_owned()) }
            }
        };
        group.members = group.spec.iter().map(member).collect();
    }
    let mut rules = Rules {
        max_retries: 0,
        backoff_init: Duration::from_secs(2),
        backoff_max: Duration::from_secs(10),
        proxy_reset_after: Duration::from_secs(300),
        host_reset_after: Duration::from_secs(1800),
        indefinitely: false,
        shard: false,
    };
    change(&mut rules);
    FailOver::new(hosts, groups, rules, fastrand::Rng::with_seed(7))
}

fn machine(hosts: usize, proxies: &str) -> FailOver {
    machine_with(hosts, proxies, |_| ())
}

const DEAD: Verdict = Verdict { failure: Failure::ProxyConnection, blame: Blame::Proxy };
const SLOW: Verdict = Verdict { failure: Failure::ProxyTooSlow, blame: Blame::SlowProxy };
const SILENT: Verdict = Verdict { failure: Failure::ProxyTooSlow, blame: Blame::SilentProxy };
const HOST: Verdict = Verdict { failure: Failure::HostHttp, blame: Blame::Host };
const MISSING: Verdict = Verdict { failure: Failure::HostHttp, blame: Blame::MissingObject };
const CORRUPT: Verdict = Verdict { failure: Failure::Corrupt, blame: Blame::Corrupt };

/// Runs one request against a world that decides about each route; returns the routes and the success.
fn run(
    machine: &mut FailOver,
    now: Instant,
    world: impl Fn(&str, &str, bool) -> Option<Verdict>,
) -> (Vec<String>, bool) {
    let mut job = machine.job(0, None);
    let mut routes = Vec::new();
    let mut same: Option<Route> = None;
    loop {
        let route = same.take().unwrap_or_else(|| machine.route(&job, now));
        let (host, hop) = (route.host.name().to_owned(), route.hop.label().replace("http://", ""));
        routes.push(format!("{host}/{hop}{}", if job.past_caches { "!" } else { "" }));
        assert!(routes.len() < 200, "no end: {:?}", &routes[..20]);
        let Some(verdict) = world(&host, &hop, job.past_caches) else { return (routes, true) };
        match machine.judge(&mut job, &route, verdict, now) {
            Step::Again(_) | Step::PastCaches => same = Some(route),
            Step::Elsewhere(_) => {}
            Step::GiveUp => return (routes, false),
        }
    }
}

#[test]
fn a_dead_proxy_leads_to_its_group_then_to_the_next() {
    let mut m = machine(1, "10.0.0.1:1|10.0.0.2:1;10.0.0.3:1;DIRECT");
    let now = Instant::now();
    let (routes, ok) = run(&mut m, now, |_, hop, _| (hop != "DIRECT").then_some(DEAD));
    assert!(ok && routes.len() == 4, "{routes:?}");
    assert_eq!(routes[2..], ["h0/10.0.0.3:1", "h0/DIRECT"]);
    assert_eq!(run(&mut m, now, |_, _, _| None).0, ["h0/DIRECT"], "all requests moved");
    let later = now + Duration::from_secs(301);
    assert!(run(&mut m, later, |_, _, _| None).0[0].starts_with("h0/10.0.0."), "the first group is back");
}

#[test]
fn when_all_proxies_failed_the_next_host_is_tried_from_the_first_group_on() {
    let mut m = machine(2, "10.0.0.1:1;10.0.0.2:1");
    let (routes, ok) = run(&mut m, Instant::now(), |_, _, _| Some(DEAD));
    assert!(!ok);
    assert_eq!(routes, ["h0/10.0.0.1:1", "h0/10.0.0.2:1", "h1/10.0.0.1:1", "h1/10.0.0.2:1"]);
    assert_eq!(run(&mut m, Instant::now(), |_, _, _| None).0[0].split('/').nth(1), Some("10.0.0.1:1"));
}

#[test]
fn a_slow_proxy_is_not_a_dead_proxy() {
    let mut m = machine(2, "10.0.0.1:1|10.0.0.2:1;10.0.0.3:1;DIRECT");
    let (routes, ok) = run(&mut m, Instant::now(), |_, _, _| Some(SLOW));
    assert!(!ok);
    assert_eq!(routes.len(), 4, "two members with two hosts: {routes:?}");
    assert!(routes.iter().all(|r| r.ends_with("10.0.0.1:1") || r.ends_with("10.0.0.2:1")), "{routes:?}");
    assert_eq!(m.current_group(), 0);
}

#[test]
fn silence_may_lead_to_other_proxies_but_never_to_direct() {
    let mut m = machine(2, "10.0.0.1:1;10.0.0.2:1;DIRECT");
    let (routes, ok) = run(&mut m, Instant::now(), |_, _, _| Some(SILENT));
    assert!(!ok);
    assert!(routes.iter().any(|r| r.ends_with("10.0.0.2:1")) && routes.len() == 4, "{routes:?}");
    assert!(!routes.iter().any(|r| r.contains("DIRECT")), "{routes:?}");
    let mut m = machine(2, "10.0.0.1:1|DIRECT");
    m.member = 0;
    assert!(!run(&mut m, Instant::now(), |_, _, _| Some(SILENT)).0.iter().any(|r| r.contains("DIRECT")));
}

#[test]
fn a_missing_object_moves_nobody_else() {
    let mut m = machine(3, "DIRECT");
    let (routes, ok) = run(&mut m, Instant::now(), |host, _, _| (host != "h2").then_some(MISSING));
    assert!(ok);
    assert_eq!(routes, ["h0/DIRECT", "h1/DIRECT", "h2/DIRECT"]);
    assert_eq!(m.current_host(), 0);
}

#[test]
fn a_failing_host_is_left_by_all_until_the_reset() {
    let mut m = machine(3, "DIRECT");
    let now = Instant::now();
    assert!(run(&mut m, now, |host, _, _| (host == "h0").then_some(HOST)).1);
    assert_eq!(run(&mut m, now + Duration::from_secs(1799), |_, _, _| None).0, ["h1/DIRECT"]);
    assert_eq!(run(&mut m, now + Duration::from_secs(1801), |_, _, _| None).0, ["h0/DIRECT"]);
}

#[test]
fn failures_at_the_same_time_cause_one_switch() {
    let mut m = machine(3, "10.0.0.1:1;10.0.0.2:1;10.0.0.3:1");
    let now = Instant::now();
    let mut jobs: Vec<_> = (0..5).map(|_| m.job(0, None)).collect();
    let routes: Vec<_> = jobs.iter().map(|job| m.route(job, now)).collect();
    for (job, route) in jobs.iter_mut().zip(&routes) {
        m.judge(job, route, HOST, now);
    }
    assert_eq!(m.current_host(), 1);
    let mut jobs: Vec<_> = (0..5).map(|_| m.job(0, None)).collect();
    let routes: Vec<_> = jobs.iter().map(|job| m.route(job, now)).collect();
    for (job, route) in jobs.iter_mut().zip(&routes) {
        m.judge(job, route, DEAD, now);
    }
    assert_eq!(m.current_group(), 1);
}

#[test]
fn corruption_is_repeated_past_the_caches_then_elsewhere() {
    let mut m = machine(2, "10.0.0.1:1;DIRECT");
    let (routes, ok) = run(&mut m, Instant::now(), |_, _, _| Some(CORRUPT));
    assert!(!ok);
    let expected = ["h0/10.0.0.1:1", "h0/10.0.0.1:1!", "h1/10.0.0.1:1", "h1/10.0.0.1:1!"];
    assert_eq!(routes[..4], expected, "{routes:?}");
    assert_eq!(routes.len(), 8, "then once more around the proxy that is listed so: {routes:?}");
    assert!(routes[4..].iter().all(|r| r.contains("DIRECT")));
}

#[test]
fn retries_are_counted_per_request() {
    let mut m = machine_with(2, "DIRECT", |rules| rules.max_retries = 2);
    let failing = Verdict { failure: Failure::HostTooSlow, blame: Blame::Host };
    let (routes, _) = run(&mut m, Instant::now(), |_, _, _| Some(failing));
    assert_eq!(routes, ["h0/DIRECT", "h0/DIRECT", "h0/DIRECT", "h1/DIRECT"]);
}

#[test]
fn a_new_set_of_addresses_keeps_the_current_one() {
    let mut m = machine(1, "10.0.0.1:1|10.0.0.2:1");
    let current = m.current_hop();
    let mut members = m.groups()[0].members.clone();
    members.reverse();
    m.install_members(0, members);
    assert_eq!(m.current_hop(), current);
    let others: Vec<_> = m.groups()[0].members.iter().filter(|hop| **hop != current).cloned().collect();
    m.install_members(0, others.clone());
    assert_eq!(m.current_hop(), others[0]);
}

#[test]
fn a_name_without_address_is_the_last_choice() {
    for seed in 0..50 {
        let mut m = machine(1, "unresolved:1|10.0.0.2:1");
        m.random = fastrand::Rng::with_seed(seed);
        m.rebalance();
        assert_eq!(m.current_hop().label(), "http://10.0.0.2:1");
    }
}

fn any_verdict() -> impl Strategy<Value = Option<Verdict>> {
    prop_oneof![
        Just(None),
        Just(Some(DEAD)),
        Just(Some(SLOW)),
        Just(Some(SILENT)),
        Just(Some(HOST)),
        Just(Some(MISSING)),
        Just(Some(CORRUPT)),
        Just(Some(Verdict { failure: Failure::ProxyResolve, blame: Blame::Proxy })),
    ]
}

proptest! {
    /// Worlds in which every pair of host and proxy has a fixed answer.
    #[test]
    fn requests_end_and_respect_the_list(
        hosts in 1usize..4,
        list in "(10\\.0\\.0\\.[1-3]:1|DIRECT)((\\||;)(10\\.0\\.0\\.[4-6]:1|DIRECT)){0,3}",
        answers in proptest::collection::vec(any_verdict(), 28),
        rounds in 1u64..4,
        retries in 0u32..2,
    ) {
        let mut m = machine_with(hosts, &list, |rules| rules.max_retries = retries);
        let now = Instant::now();
        let world = |host: &str, hop: &str, _| {
            let h = usize::from(host.as_bytes()[1] - b'0');
            let p = if hop == "DIRECT" { 6 } else { usize::from(hop.as_bytes()[7] - b'1') };
            let answer = answers[h * 7 + p];
            // Without a proxy nobody blames one.
            match answer {
                Some(v) if hop == "DIRECT" && !matches!(v.blame, Blame::MissingObject | Blame::Corrupt) => Some(HOST),
                other => other,
            }
        };
        let direct_listed = list.contains("DIRECT");
        for round in 0..rounds {
            let (routes, ok) = run(&mut m, now + Duration::from_secs(round * 200), world);
            prop_assert!(direct_listed || !routes.iter().any(|r| r.contains("DIRECT")), "{:?}", routes);
            // Only hosts can fail: then success is certain if one host works through the current group.
            if !ok && answers.iter().flatten().all(|v| matches!(v.blame, Blame::Host | Blame::MissingObject)) {
                let last = routes.last().map(|r| r.split('/').nth(1).unwrap_or("").to_owned()).unwrap_or_default();
                for h in 0..hosts {
                    prop_assert!(world(&format!("h{h}"), &last, false).is_some(), "{:?}", routes);
                }
            }
        }
    }

    /// If no proxy is ever dead or corrupting, the first group is never left for DIRECT.
    #[test]
    fn doubt_never_bypasses_the_proxies(
        hosts in 1usize..4,
        answers in proptest::collection::vec(prop_oneof![Just(SLOW), Just(SILENT), Just(HOST), Just(MISSING)], 20),
        retries in 0u32..3,
    ) {
        let mut m = machine_with(hosts, "10.0.0.1:1|10.0.0.2:1;10.0.0.3:1;DIRECT", |rules| rules.max_retries = retries);
        let step = std::cell::Cell::new(0);
        let (routes, ok) = run(&mut m, Instant::now(), |_, _, _| {
            step.set(step.get() + 1);
            Some(answers[step.get() % answers.len()])
        });
        prop_assert!(!ok && !routes.iter().any(|r| r.contains("DIRECT")), "{:?}", routes);
    }
}
