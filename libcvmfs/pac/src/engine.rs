use libcvmfs::transport::discovery::PacEvaluator;
use rquickjs::context::EvalOptions;
use rquickjs::function::Func;
use rquickjs::{CatchResultExt as _, CaughtError, Context, Ctx, Function, Runtime};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The functions that a PAC file may call, as far as they need nothing of the system.
const PRELUDE: &str = include_str!("prelude.js");

/// A PAC file is small; this one is not.
const MAX_SCRIPT_BYTES: usize = 1 << 20;
const MAX_MEMORY_BYTES: usize = 64 << 20;
const MAX_STACK_BYTES: usize = 256 << 10;

/// Why a PAC file gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacError {
    /// The file is larger than any PAC file.
    #[error("the proxy auto-configuration file is larger than {MAX_SCRIPT_BYTES} bytes")]
    TooLarge,
    /// It ran too long; a loop without an end, most likely.
    #[error("the proxy auto-configuration file did not answer within {0:?}")]
    TimedOut(Duration),
    /// JavaScript found a mistake in it.
    #[error("the proxy auto-configuration file is broken: {0}")]
    Script(String),
    /// The answer of `FindProxyForURL` is no text.
    #[error("FindProxyForURL of the proxy auto-configuration file did not return a text")]
    NotText,
}

type Resolve = dyn Fn(&str) -> Option<IpAddr> + Send + Sync;

/// Evaluates PAC files, each in a fresh engine.
#[derive(Clone)]
pub struct PacEngine {
    time_limit: Duration,
    resolve: Arc<Resolve>,
    /// Milliseconds since 1970; `None`: the clock.
    now: Option<f64>,
}

impl Default for PacEngine {
    fn default() -> PacEngine {
        PacEngine { time_limit: Duration::from_secs(5), resolve: Arc::new(resolve_by_system), now: None }
    }
}

impl PacEngine {
    /// The answer of `script` for `url` on `host`, such as `PROXY squid.example:3128; DIRECT`.
    pub fn evaluate(&self, script: &[u8], url: &str, host: &str) -> Result<String, PacError> {
        if script.len() > MAX_SCRIPT_BYTES {
            return Err(PacError::TooLarge);
        }
        let until = Instant::now() + self.time_limit;
        let broken = |error: rquickjs::Error| PacError::Script(error.to_string());
        let runtime = Runtime::new().map_err(broken)?;
        runtime.set_memory_limit(MAX_MEMORY_BYTES);
        runtime.set_max_stack_size(MAX_STACK_BYTES);
        runtime.set_interrupt_handler(Some(Box::new(move || Instant::now() > until)));
        let context = Context::full(&runtime).map_err(broken)?;
        let answer = context.with(|ctx| self.run(&ctx, script, url, host));
        match answer {
            // The engine reports an interrupt as an error like any other.
            Err(_) if Instant::now() > until => Err(PacError::TimedOut(self.time_limit)),
            answer => answer,
        }
    }

    fn run<'js>(&self, ctx: &Ctx<'js>, script: &[u8], url: &str, host: &str) -> Result<String, PacError> {
        let broken = |error: CaughtError<'js>| PacError::Script(error.to_string().trim_end().to_owned());
        let globals = ctx.globals();
        let resolve = self.resolve.clone();
        let native = Func::from(move |host: String| resolve(&host).map(|address| address.to_string()));
        globals.set("dnsResolve", native).catch(ctx).map_err(broken)?;
        globals.set("myIpAddress", Func::from(|| own_address().to_string())).catch(ctx).map_err(broken)?;
        globals.set("__now", self.now).catch(ctx).map_err(broken)?;
        ctx.eval::<(), _>(PRELUDE).catch(ctx).map_err(broken)?;
        // Many PAC files in use assign variables they never declared.
        let mut lenient = EvalOptions::default();
        lenient.strict = false;
        ctx.eval_with_options::<(), _>(script, lenient).catch(ctx).map_err(broken)?;
        let find: Function = globals.get("FindProxyForURL").catch(ctx).map_err(broken)?;
        let answer: rquickjs::Value = find.call((url, host)).catch(ctx).map_err(broken)?;
        let text = answer.as_string().ok_or(PacError::NotText)?;
        text.to_string().catch(ctx).map_err(broken)
    }
}

impl PacEvaluator for PacEngine {
    fn find_proxy(&self, script: &str, url: &str, host: &str) -> Result<String, String> {
        self.evaluate(script.as_bytes(), url, host).map_err(|error| error.to_string())
    }
}

/// IPv4 where there is any: that is what PAC files reckon with.
fn resolve_by_system(host: &str) -> Option<IpAddr> {
    let addresses = match host.parse() {
        Ok(literal) => vec![literal],
        Err(_) => libcvmfs::transport::dns::addresses_of(host).ok()?,
    };
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

/// The address from which the outside world would be reached. Nothing is sent to find it.
fn own_address() -> IpAddr {
    let towards = |documentation_only: &str| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((documentation_only, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    towards("192.0.2.1").unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> PacEngine {
        let resolve = |host: &str| match host {
            "squid.example" | "10.1.2.3" => Some(IpAddr::from([10, 1, 2, 3])),
            "outside.example" => Some(IpAddr::from([192, 0, 2, 7])),
            _ => None,
        };
        // Saturday, 2026-11-21 14:30:05 GMT.
        PacEngine { resolve: Arc::new(resolve), now: Some(1_795_271_405_000.0), ..PacEngine::default() }
    }

    fn answer(body: &str) -> Result<String, PacError> {
        let script = format!("function FindProxyForURL(url, host) {{ {body} }}");
        engine().evaluate(script.as_bytes(), "http://s1.example.org/cvmfs/a.b/.cvmfspublished", "s1.example.org")
    }

    fn holds(expression: &str) -> bool {
        match answer(&format!("return ({expression}) ? 'yes' : 'no';")).unwrap().as_str() {
            "yes" => true,
            "no" => false,
            other => panic!("{expression}: {other}"),
        }
    }

    #[test]
    fn the_answer_comes_from_url_and_host() {
        let body = "return host == 's1.example.org' && url.indexOf('http://') == 0 ? 'PROXY a:1; DIRECT' : 'no';";
        assert_eq!(answer(body).unwrap(), "PROXY a:1; DIRECT");
    }

    #[test]
    fn undeclared_variables_are_forgiven() {
        assert_eq!(answer("chosen = 'DIRECT'; return chosen;").unwrap(), "DIRECT");
    }

    #[test]
    fn hosts_are_told_apart() {
        for (expression, expected) in [
            ("isPlainHostName('www')", true),
            ("isPlainHostName(host)", false),
            ("dnsDomainIs(host, '.example.org')", true),
            ("dnsDomainIs(host, '.example.com')", false),
            ("dnsDomainIs('org', '.example.org')", false),
            ("localHostOrDomainIs('www', 'www.example.org')", true),
            ("localHostOrDomainIs('www.example.org', 'www.example.org')", true),
            ("localHostOrDomainIs('www.other.org', 'www.example.org')", false),
            ("localHostOrDomainIs('ww', 'www.example.org')", false),
            ("isResolvable('squid.example')", true),
            ("isResolvable('nowhere.example')", false),
            ("isInNet('squid.example', '10.1.0.0', '255.255.0.0')", true),
            ("isInNet('10.1.2.3', '10.1.2.3', '255.255.255.255')", true),
            ("isInNet('outside.example', '10.0.0.0', '255.0.0.0')", false),
            ("isInNet('nowhere.example', '0.0.0.0', '0.0.0.0')", false),
            ("isInNet('192.168.1.1', '192.168.0.0', '255.255.0.0')", true),
            ("dnsResolve('squid.example') == '10.1.2.3'", true),
            ("dnsResolve('nowhere.example') == null", true),
            ("dnsDomainLevels('www') == 0 && dnsDomainLevels(host) == 2", true),
            ("shExpMatch('http://a.b/c/d.html', '*/c/*.html')", true),
            ("shExpMatch('axb', 'a?b') && !shExpMatch('a.b', 'a??b')", true),
            ("shExpMatch('a.b', 'a.b') && !shExpMatch('axb', 'a.b')", true),
            ("shExpMatch('ab', 'b')", false),
            ("/^\\d+\\.\\d+\\.\\d+\\.\\d+$/.test(myIpAddress())", true),
        ] {
            assert_eq!(holds(expression), expected, "{expression}");
        }
    }

    #[test]
    fn times_are_told_apart() {
        for (expression, expected) in [
            ("weekdayRange('SAT', 'GMT')", true),
            ("weekdayRange('SUN', 'GMT')", false),
            ("weekdayRange('FRI', 'MON', 'GMT')", true),
            ("weekdayRange('MON', 'FRI', 'GMT')", false),
            ("dateRange(21, 'GMT')", true),
            ("dateRange(20, 'GMT')", false),
            ("dateRange('NOV', 'GMT') && !dateRange('DEC', 'GMT')", true),
            ("dateRange(2026, 'GMT') && !dateRange(2025, 'GMT')", true),
            ("dateRange(20, 22, 'GMT') && !dateRange(22, 25, 'GMT')", true),
            ("dateRange('OCT', 'DEC', 'GMT') && dateRange('OCT', 'JAN', 'GMT')", true),
            ("dateRange(1, 'NOV', 30, 'NOV', 'GMT') && !dateRange(1, 'JAN', 20, 'NOV', 'GMT')", true),
            ("dateRange('NOV', 2026, 'DEC', 2027, 'GMT') && !dateRange('DEC', 2026, 'DEC', 2027, 'GMT')", true),
            ("dateRange(21, 'NOV', 2026, 'GMT')", true),
            ("dateRange(1, 'JAN', 2026, 21, 'NOV', 2026, 'GMT')", true),
            ("dateRange(1, 'JAN', 2026, 20, 'NOV', 2026, 'GMT')", false),
            ("timeRange(14, 'GMT') && !timeRange(15, 'GMT')", true),
            ("timeRange(9, 17, 'GMT') && !timeRange(9, 14, 'GMT')", true),
            ("timeRange(22, 15, 'GMT')", true),
            ("timeRange(14, 0, 14, 31, 'GMT') && !timeRange(14, 31, 15, 0, 'GMT')", true),
            ("timeRange(14, 30, 5, 14, 30, 6, 'GMT') && !timeRange(0, 0, 0, 0, 0, 30, 'GMT')", true),
        ] {
            assert_eq!(holds(expression), expected, "{expression}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        let told = |script: &str| engine().evaluate(script.as_bytes(), "http://a/", "a").unwrap_err();
        assert!(matches!(told("function FindProxyForURL( {"), PacError::Script(_)));
        assert!(matches!(told("var x = 1;"), PacError::Script(_)));
        assert_eq!(answer("return 7;").unwrap_err(), PacError::NotText);
        match answer("throw new Error('the reason');").unwrap_err() {
            PacError::Script(reason) => assert!(reason.contains("the reason"), "{reason}"),
            other => panic!("{other}"),
        }
        assert_eq!(told(&" ".repeat(MAX_SCRIPT_BYTES + 1)), PacError::TooLarge);
    }

    #[test]
    fn endless_scripts_are_ended() {
        let quick = PacEngine { time_limit: Duration::from_millis(200), ..engine() };
        let run =
            |body: &str| quick.evaluate(format!("function FindProxyForURL(u, h) {{ {body} }}").as_bytes(), "", "");
        assert!(matches!(run("for (;;) {}"), Err(PacError::TimedOut(_))));
        assert!(matches!(run("try { for (;;) {} } catch (e) { return 'DIRECT'; }"), Err(PacError::TimedOut(_))));
        assert!(run("return FindProxyForURL(u, h);").is_err());
        assert!(run("var a = 'x'; for (;;) a += a;").is_err());
    }
}
