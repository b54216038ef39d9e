use super::*;
use crate::catalog::testing::{inflate, write_database};
use proptest::prelude::*;

const REAL: &[u8] = include_bytes!("../../tests/data/catalogs/ff9197e29fe2ddb5d4d1137330ee0a31023bd70cH");

fn fqrn(name: &str) -> Fqrn {
    Fqrn::new(name).unwrap()
}

#[test]
fn an_official_history_is_read_with_the_official_semantics() {
    let file = inflate(REAL);
    let history = History::open(file.path(), &fqrn("small.test.example")).unwrap();
    let names: Vec<_> = history.tags().iter().map(|tag| tag.name.as_str()).collect();
    assert_eq!(
        names,
        ["trunk", "trunk-previous", "v5", "v4", "v1-fix1", "release-1.0", "v3", "v2", "v1"],
        "newest first"
    );
    let v3 = history.tag("v3").unwrap();
    assert_eq!((v3.revision, v3.timestamp, v3.size), (4, 1_795_262_289, Some(374_784)));
    assert_eq!(v3.root.to_string(), "9e2ce27cb325c0ece6179c5a68d8c10bf11f1dbb");
    assert_eq!(v3.description, "nested_catalogs_moved");
    assert!(history.tag("V3").is_none());

    // v1-fix1 is on a branch: at its time, the trunk was still at revision 4.
    assert_eq!(history.tag_at(1_795_262_292).unwrap().revision, 4);
    assert_eq!(history.tag_at(1_795_262_298).unwrap().name, "trunk-previous", "highest revision, not the latest time");
    assert_eq!(history.tag_at(i64::MAX).unwrap().name, "trunk");
    assert!(history.tag_at(1_795_262_283).is_none());
    assert_eq!(history.head("fixes").unwrap().name, "v1-fix1");

    let branches: Vec<_> = history.branches().iter().map(|b| (b.name.as_str(), b.parent.as_deref())).collect();
    assert_eq!(branches, [("", None), ("fixes", Some(""))]);
    assert_eq!(history.previous_revision().unwrap().to_string(), "c3ceda356523bbeb480bf6fe68f47d7cef652165");

    let other = History::open(file.path(), &fqrn("other.test.example"));
    assert!(matches!(other, Err(HistoryError::OtherRepository { .. })), "{other:?}");
}

fn with_schema(revision: u32) -> tempfile::NamedTempFile {
    let size = if revision >= 1 { ", size INTEGER" } else { "" };
    let branch = if revision >= 3 { ", branch TEXT" } else { "" };
    let values = if revision >= 1 { ", 77" } else { "" };
    let trunk = if revision >= 3 { ", ''" } else { "" };
    let good = "2a695360ba25033e8899486a62c9dc7316650b56";
    let mut sql = format!(
        "CREATE TABLE properties (key TEXT, value TEXT);
         INSERT INTO properties VALUES ('schema', '1.0'), ('schema_revision', '{revision}'), ('fqrn', 'a.example.org');
         CREATE TABLE tags (name TEXT, hash TEXT, revision INTEGER, timestamp INTEGER, channel INTEGER,
            description TEXT{size}{branch});
         INSERT INTO tags VALUES ('good', '{good}', 3, 100, 0, 'd'{values}{trunk});
         INSERT INTO tags VALUES ('bad', 'xyz', 4, 100, 0, 'd'{values}{trunk});
         INSERT INTO tags VALUES ('null', '{null}', 5, 100, 0, 'd'{values}{trunk});
         INSERT INTO tags VALUES ('negative', '{good}', -6, 100, 0, 'd'{values}{trunk});",
        null = "0".repeat(40),
    );
    if revision >= 3 {
        sql.push_str("CREATE TABLE branches (branch TEXT, parent TEXT, initial_revision INTEGER);");
    }
    write_database(&sql)
}

#[test]
fn every_schema_revision_is_read_and_malformed_tags_are_left_out() {
    for revision in 0..=4 {
        let file = with_schema(revision);
        let history = History::open(file.path(), &fqrn("a.example.org")).unwrap();
        let names: Vec<_> = history.tags().iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names, ["good"], "schema revision {revision}");
        assert_eq!(history.tags()[0].size, (revision >= 1).then_some(77));
        assert_eq!(history.branches().len(), 1);
        assert_eq!(history.tag_at(100).unwrap().name, "good");
    }
}

#[test]
fn what_is_no_history_is_refused() {
    let file = write_database("CREATE TABLE properties (key TEXT, value TEXT);");
    assert!(matches!(History::open(file.path(), &fqrn("a.example.org")), Err(HistoryError::Schema { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"no database, but long enough to look at").unwrap();
    let refused = History::open(file.path(), &fqrn("a.example.org")).unwrap_err();
    assert!(matches!(refused, HistoryError::Database(DatabaseError::NotADatabase { .. })), "{refused:?}");
    assert_eq!((refused.origin(), refused.retry()), (Origin::Content, Retry::Never));
}

#[test]
fn dates_are_read_strictly() {
    for (text, seconds) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T12:34:56Z", 951_827_696),
        ("2026-11-21T14:20:39Z", 1_795_270_839),
        ("2100-03-01T00:00:00Z", 4_107_542_400),
        ("1969-12-31T23:59:59Z", -1),
    ] {
        assert_eq!(parse_date(text), Some(seconds), "{text}");
    }
    for bad in [
        "",
        "2026-11-21",
        "2026-11-21T14:20:39",
        "2026-11-31T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-11-21 14:20:39Z",
        "2026-11-21T24:00:00Z",
        "+026-11-21T14:20:39Z",
        "2026-11-21T14:20:39ZZ",
    ] {
        assert_eq!(parse_date(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn consecutive_days_are_a_day_apart(day in 0i64..60_000) {
        // The inverse, counted plainly year by year and month by month.
        let (mut left, mut year, mut month) = (day, 1970, 1);
        loop {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
            if left < days { break; }
            left -= days;
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        }
        let text = format!("{year:04}-{month:02}-{:02}T00:00:00Z", left + 1);
        prop_assert_eq!(parse_date(&text), Some(day * 86_400));
    }
}
