use super::*;
use crate::description::Form;
use crate::ids::Ids;
use crate::kept::Kept;

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path().join("cernvm-fork")).unwrap();
    (directory, store)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn new(store: &Store, text: &str) -> Running {
    store.lock().unwrap().make(&name(text), Description::new("/".into(), Form::Overlay, Ids::own(), false)).unwrap()
}

fn layers(store: &Store, text: &str) -> Vec<LayerId> {
    store.lock().unwrap().read(&name(text)).unwrap().layers
}

fn write(store: &Store, text: &str) {
    std::fs::write(layers(store, text)[0].files(&store.layers()).join("written"), text).unwrap();
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_fork_shares_what_was_written_and_both_go_on_in_layers_of_their_own() {
    let (_directory, store) = store();
    drop(new(&store, "base"));
    write(&store, "base");
    let before = layers(&store, "base");
    let fork =
        |child: &str| drop(store.lock().unwrap().fork(&name(child), &name("base"), Kept::default(), false).unwrap());
    fork("one");
    let (base, one) = (layers(&store, "base"), layers(&store, "one"));
    assert_eq!((&base[1..], &one[1..]), (&before[..], &before[..]));
    assert_ne!(base[0], one[0]);
    // Nothing was written since: there is nothing to share but what is shared already.
    fork("two");
    assert_eq!(layers(&store, "base"), base);
    assert_eq!(layers(&store, "two")[1..], before[..]);
}

#[test]
fn a_fork_that_nobody_could_start_is_refused_and_changes_nothing() {
    let (_directory, store) = store();
    drop(new(&store, "base"));
    let fork = |number: usize| {
        store.lock().unwrap().fork(&name(&format!("n{number}")), &name("base"), Kept::default(), false).map(drop)
    };
    let most = Form::Overlay.most_layers();
    for number in 1..most {
        write(&store, "base");
        fork(number).unwrap();
    }
    write(&store, "base");
    let before = layers(&store, "base");
    assert_eq!(before.len(), most);
    assert!(format!("{:#}", fork(most).unwrap_err()).contains("commit base"));
    assert_eq!(layers(&store, "base"), before);
}

#[test]
fn what_runs_is_neither_started_nor_forked_nor_destroyed() {
    let (_directory, store) = store();
    let running = new(&store, "base");
    let locked = store.lock().unwrap();
    let refused = [
        locked.claim(&name("base")).map(drop),
        locked.fork(&name("child"), &name("base"), Kept::default(), false).map(drop),
        locked.destroy(&name("base")),
    ];
    for refused in refused {
        let message = format!("{:#}", refused.unwrap_err());
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    }
    assert_eq!(locked.all().unwrap()[0].running, Some(std::process::id()));
    locked.sweep().unwrap();
    assert!(locked.has(&name("base")));
    drop(running);
    assert_eq!(locked.all().unwrap()[0].running, None);
    locked.destroy(&name("base")).unwrap();
    assert!(!locked.has(&name("base")));
}

#[test]
fn what_nobody_needs_goes_and_what_somebody_needs_stays() {
    let (_directory, store) = store();
    drop(new(&store, "base"));
    write(&store, "base");
    drop(store.lock().unwrap().fork(&name("child"), &name("base"), Kept::default(), false).unwrap());
    let shared = layers(&store, "child")[1].clone();
    // A command that was interrupted, and an ephemeral instance whose starter was killed.
    std::fs::create_dir(store.base().join(".new-half")).unwrap();
    drop(store.lock().unwrap().fork(&name("brief"), &name("base"), Kept::default(), true).unwrap());
    let locked = store.lock().unwrap();
    locked.destroy(&name("base")).unwrap();
    locked.sweep().unwrap();
    assert!(shared.files(&store.layers()).join("written").exists());
    assert_eq!(locked.all().unwrap().len(), 1);
    assert_eq!(entries(&store.layers()), 2);
    locked.destroy(&name("child")).unwrap();
    locked.sweep().unwrap();
    assert_eq!(entries(&store.layers()), 0);
    store.delete_gone().unwrap();
    assert_eq!(entries(&store.base().join(GONE)), 0);
    assert_eq!(entries(store.base()), 3);
}

#[test]
fn a_damaged_description_keeps_all_layers() {
    let (_directory, store) = store();
    drop(new(&store, "base"));
    std::fs::write(store.instance(&name("base")).join("instance.json"), "{").unwrap();
    let locked = store.lock().unwrap();
    locked.sweep().unwrap();
    assert_eq!(entries(&store.layers()), 1);
    assert!(locked.all().unwrap()[0].description.is_none());
    locked.destroy(&name("base")).unwrap();
    locked.sweep().unwrap();
    assert_eq!(entries(&store.layers()), 0);
}

#[test]
fn a_place_that_others_can_write_to_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("cernvm-fork");
    std::fs::create_dir(&base).unwrap();
    std::fs::set_permissions(&base, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    assert!(Store::at(base).unwrap_err().to_string().contains("nobody else may write"));
}
