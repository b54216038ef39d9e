//! User data from a cloud, a kernel command line, a `context.sh` and an environment document, all made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ucernvm_context::amiconfig::Amiconfig;
use ucernvm_context::media::Medium;
use ucernvm_context::opennebula::Context;
use ucernvm_context::{About, CommandLine, Interface, Section, Settings, UserData, media, metadata, ovf};

struct Made<'a>(&'a [u8]);

impl Medium for Made<'_> {
    fn label(&self) -> &str {
        "cidata"
    }
    fn read(&self, _: &str, limit: usize) -> Option<Vec<u8>> {
        (self.0.len() <= limit).then(|| self.0.to_vec())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let line = CommandLine::parse(&text);
    let mut settings = Settings::from_command_line(&line);
    let _ = (Interface::all_from(&line), Context::parse(&text).interfaces(), ovf::user_data(&text));
    let data = UserData { source: "fuzz", bytes: bytes.to_vec(), about: About::default() };
    if let (Some(section), _) = data.section() {
        settings.apply(&section);
        let again = Section::find(&section.to_text()).expect("a section just written");
        assert!(again.pairs().eq(section.pairs()));
    }
    let _ = Amiconfig::find(&data).map(|told| told.translation());
    assert!(settings.tree().is_none_or(|tree| !tree.split('/').any(|part| part == "..")));
    let _ = metadata::ask_no_cloud(&text, &mut |_| metadata::Answer::Found(bytes.to_vec()));
    let _ = (settings.server_url(), media::user_data(&Made(bytes)));
    let _ = (About::from_open_stack(bytes), About::from_azure(bytes));
    // Some pages are there and others are not, so that each service is found.
    let first = usize::from(bytes.first().copied().unwrap_or_default());
    let _ = metadata::ask(None, &mut |request| match (request.path.len() + first).is_multiple_of(4) {
        true => metadata::Answer::Found(bytes.to_vec()),
        false => metadata::Answer::Refused,
    });
});
