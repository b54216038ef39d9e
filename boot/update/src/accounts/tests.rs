use super::*;
use proptest::prelude::*;

fn files(group: &str, gshadow: &str, passwd: &str, shadow: &str) -> Files {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Files { group: bytes(group), gshadow: bytes(gshadow), passwd: bytes(passwd), shadow: bytes(shadow) }
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn names_on_one_side_names_on_both_and_ids_that_clash() {
    let base = files(
        "root:x:0:\nadm:x:4:\nwww:x:33:\n",
        "root:*::\n",
        "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/bin/sh\ngames:x:5:60::/:/bin/sh\n",
        "root:*:1::::::\nwww:*:1::::::\ngames:*:1::::::\n",
    );
    // A user was added with an id that the new system uses otherwise; games was removed; root has a password; joe is in adm.
    let local = files(
        "root:x:0:\nadm:x:4:joe\nwww:x:33:\nssh:x:101:\n",
        "root:*::\n",
        "root:x:0:0:root:/root:/bin/bash\nwww:x:33:33::/var/www:/bin/sh\nssh:x:101:101::/run:/bin/false\n",
        "root:$6$x:2::::::\nwww:*:1::::::\nssh:!:1::::::\n",
    );
    // The new system: messagebus takes 101 for user and group, ssh has another id there; www gets another shell; sys is in adm.
    let new = files(
        "root:x:0:\nadm:x:4:sys\nwww:x:33:\nmessagebus:x:101:\nssh:x:102:\n",
        "root:*::\nmessagebus:!::\n",
        "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/usr/sbin/nologin\ngames:x:5:60::/:/bin/sh\nmessagebus:x:101:101::/:/bin/false\nssh:x:102:102::/run:/bin/false\n",
        "root:*:1::::::\nwww:*:1::::::\ngames:*:1::::::\nmessagebus:!:3::::::\nssh:!:3::::::\n",
    );
    let merged = merge(&base, &local, &new);
    assert_eq!(
        string(&merged.files.passwd),
        "root:x:0:0:root:/root:/bin/bash\nwww:x:33:33::/var/www:/usr/sbin/nologin\nssh:x:101:101::/run:/bin/false\n\
         messagebus:x:999:999::/:/bin/false\n"
    );
    assert_eq!(string(&merged.files.group), "root:x:0:\nadm:x:4:joe,sys\nwww:x:33:\nssh:x:101:\nmessagebus:x:999:\n");
    assert_eq!(string(&merged.files.shadow), "root:$6$x:2::::::\nwww:*:1::::::\nssh:!:1::::::\nmessagebus:!:3::::::\n");
    assert_eq!(string(&merged.files.gshadow), "root:*::\nmessagebus:!::\n");
    let expected = Map::from([(101, 999), (102, 101)]);
    assert_eq!((&merged.users, &merged.groups), (&expected, &expected));
}

#[test]
fn lines_that_are_something_else_stay_where_they_are() {
    let local = files("# mine\n+@staff\nbroken\nx:x:notanumber:\n", "", "", "");
    let merged = merge(&Files::default(), &local, &files("new:x:5:\n", "", "", ""));
    assert_eq!(string(&merged.files.group), "# mine\nnew:x:5:\n+@staff\nbroken\nx:x:notanumber:\n");
}

#[test]
fn a_map_keeps_the_rules_of_others() {
    let decided = BTreeSet::from([1, 2, 3]);
    let text = map_text("# mine\n2 7\n50 60\n* 65534\n", &Map::from([(3, 9)]), &decided);
    assert_eq!(text, "# mine\n50 60\n* 65534\n3 9\n");
}

fn passwd(accounts: &BTreeMap<String, (u32, u32)>) -> String {
    accounts.iter().map(|(name, (id, shell))| format!("{name}:x:{id}:{id}::/:/bin/{shell}\n")).collect()
}

fn side() -> impl Strategy<Value = Files> {
    // Ids are different on one side, as they are in systems; names may come and go.
    proptest::collection::btree_map("[a-h]", (100u32..112, 0u32..3), 0..7).prop_map(|accounts| {
        let mut seen = BTreeSet::new();
        let accounts: BTreeMap<_, _> = accounts.into_iter().filter(|(_, (id, _))| seen.insert(*id)).collect();
        let group: String = accounts.iter().map(|(name, (id, _))| format!("{name}:x:{id}:m{id}\n")).collect();
        let shadow: String = accounts.iter().map(|(name, (_, word))| format!("{name}:{word}:1::::::\n")).collect();
        files(&group, &shadow, &passwd(&accounts), &shadow)
    })
}

fn id_of(file: &[u8], name: &[u8]) -> Option<u32> {
    find(&lines(file), name).and_then(|line| line.number(2))
}

proptest! {
    #[test]
    fn what_is_merged_twice_is_merged_once(base in side(), local in side(), new in side()) {
        let once = merge(&base, &local, &new);
        let twice = merge(&base, &once.files, &new);
        prop_assert_eq!(&twice.files, &once.files);
        prop_assert_eq!((&twice.users, &twice.groups), (&once.users, &once.groups));
    }

    #[test]
    fn names_and_ids_stay_those_of_the_machine(base in side(), local in side(), new in side()) {
        let merged = merge(&base, &local, &new);
        for (before, after) in [(&local.passwd, &merged.files.passwd), (&local.group, &merged.files.group)] {
            for line in lines(before) {
                prop_assert_eq!(id_of(after, line.name()), line.number(2));
            }
            let ids: Vec<u32> = lines(after).iter().filter_map(|line| line.number(2)).collect();
            prop_assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "no id twice");
        }
        for line in lines(&local.shadow) {
            let after = lines(&merged.files.shadow);
            prop_assert_eq!(find(&after, line.name()), Some(&line), "no password is replaced");
        }
    }

    #[test]
    fn files_of_the_new_tree_are_shown_as_those_of_whom_they_belong_to(base in side(), local in side(), new in side()) {
        let merged = merge(&base, &local, &new);
        for line in lines(&new.passwd) {
            let Some(here) = id_of(&merged.files.passwd, line.name()) else { continue };
            let there = line.number(2).expect("an id");
            prop_assert_eq!(merged.users.get(&there).copied().unwrap_or(there), here);
        }
    }

    #[test]
    fn without_changes_here_the_new_names_are_all_there(base in side(), new in side()) {
        let merged = merge(&base, &base, &new);
        for line in lines(&new.passwd) {
            prop_assert!(id_of(&merged.files.passwd, line.name()).is_some());
        }
    }

    #[test]
    fn any_text_is_survived(base in "[ab:1\n,+]{0,40}", local in "[ab:12\n,+#-]{0,60}", new in "[abc:12\n,]{0,60}") {
        let of = |text: &str| files(text, text, text, text);
        merge(&of(&base), &of(&local), &of(&new));
    }
}
