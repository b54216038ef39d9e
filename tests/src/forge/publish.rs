use super::hooks::ObjectInfo;
use super::store::{self, Store};
use super::tree::{self, File, Kind, Node};
use super::{Forge, Keys, Published, history};
use libcvmfs::catalog::write::{CatalogWriter, ChunkRow, Flags, Link, LinkTable, Row};
use libcvmfs::catalog::{Counters, Statistics};
use libcvmfs::hash::{ContentHash, PathHash};
use libcvmfs::object::{Compression, ObjectKind, ObjectName};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What the rows of a file say about its objects.
#[derive(Clone, Default)]
struct Content {
    size: u64,
    whole: Option<ContentHash>,
    /// Offset, size, hash.
    chunks: Vec<(u64, u64, ContentHash)>,
    flags: u32,
}

struct Catalogs {
    contents: BTreeMap<Vec<u8>, Content>,
    /// Described paths by the mount point of the catalog that holds them.
    rows: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    sub_directories: HashMap<Vec<u8>, u32>,
    finished: BTreeMap<Vec<u8>, (ContentHash, u64, Counters)>,
}

impl Forge {
    /// Writes this revision below `web_root`, which may hold earlier ones: objects, catalogs, history, whitelist,
    /// the public key as `<fqrn>.pub` and at last the manifest.
    ///
    /// # Panics
    /// When something cannot be written or the description makes no sense.
    pub fn publish(&self, web_root: impl AsRef<Path>) -> Published {
        let web_root = web_root.as_ref();
        std::fs::create_dir_all(web_root.join("data")).unwrap_or_else(|e| panic!("{}: {e}", web_root.display()));
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let store = Store { web_root, algorithm: self.algorithm, hooks: &self.hooks };

        let contents = self.store_files(&store, web_root);
        let catalogs = self.write_catalogs(&store, scratch.path(), contents);
        let (root_catalog, root_size, _) = catalogs.finished[&Vec::new()];

        let put = |kind, bytes: Vec<u8>| store.put(&ObjectInfo::new(kind, b"", 0), bytes, Compression::Zlib).hash;
        let signer = self.manifest_keys.as_ref().unwrap_or(&self.keys);
        let certificate = put(ObjectKind::Certificate, signer.certificate.clone().into_bytes());
        let history = (!self.tags.is_empty())
            .then(|| put(ObjectKind::History, history::write(self, scratch.path(), (root_catalog, root_size))));
        let meta_info = self.meta_info.as_ref().map(|json| put(ObjectKind::MetaInfo, json.clone().into_bytes()));

        let text = self.manifest_text(root_catalog, root_size, certificate, history, meta_info);
        let manifest = signer.signer.sign_manifest(text.as_bytes(), self.algorithm).expect("a key that can sign");
        let manifest = self.hooks.manifest_bytes.iter().fold(manifest, |bytes, change| change(bytes));
        let whitelist = self.whitelist();

        let public_key = web_root.join(format!("{}.pub", self.fqrn));
        store::replace(&public_key, self.keys.public_key().as_bytes());
        let lossy = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let published = Published {
            fqrn: self.fqrn.clone(),
            web_root: web_root.to_owned(),
            public_key,
            revision: self.revision,
            timestamp: self.time(),
            root_catalog,
            root_size,
            certificate,
            history,
            meta_info,
            objects: catalogs.contents.iter().map(|(path, content)| (lossy(path), content.objects())).collect(),
            catalogs: catalogs.finished.iter().map(|(path, (hash, size, _))| (lossy(path), (*hash, *size))).collect(),
            manifest,
            whitelist,
        };
        if self.alternative_paths {
            published.put_alternative_copies();
        }
        published.put_manifest();
        published
    }

    fn store_files(&self, store: &Store<'_>, web_root: &Path) -> BTreeMap<Vec<u8>, Content> {
        let default_external = web_root.join("external");
        let external = self.external_directory.as_ref().unwrap_or(&default_external);
        let mut contents = BTreeMap::new();
        for (path, node) in &self.tree {
            let content = match &node.kind {
                Kind::File(file) if file.external => {
                    store::replace(&external.join(os_path(&path[1..])), &file.bytes);
                    self.store_nowhere(store, path, file)
                }
                Kind::File(file) => self.store_file(store, path, file),
                Kind::Phantom(hash, size) => {
                    let flags = Flags::of_content(hash.algorithm, Compression::Zlib);
                    Content { size: *size, whole: Some(*hash), chunks: Vec::new(), flags }
                }
                _ => continue,
            };
            contents.insert(path.clone(), content);
        }
        contents
    }

    fn store_file(&self, store: &Store<'_>, path: &[u8], file: &File) -> Content {
        let compression = file.compression.unwrap_or(self.compression);
        let mut content = Content { size: file.bytes.len() as u64, ..Content::default() };
        content.flags = Flags::of_content(self.algorithm, compression);
        match file.chunk_size {
            None => {
                let info = ObjectInfo::new(ObjectKind::File, path, 0);
                content.whole = Some(store.put(&info, file.bytes.clone(), compression).hash);
            }
            Some(size) => {
                content.flags |= Flags::CHUNKED;
                let mut offset = 0;
                for chunk in file.bytes.chunks(size) {
                    let info = ObjectInfo::new(ObjectKind::Partial, path, offset);
                    let hash = store.put(&info, chunk.to_vec(), compression).hash;
                    content.chunks.push((offset, chunk.len() as u64, hash));
                    offset += chunk.len() as u64;
                }
            }
        }
        content
    }

    /// External files have names but no objects.
    fn store_nowhere(&self, store: &Store<'_>, path: &[u8], file: &File) -> Content {
        let nowhere = tempfile::tempdir().expect("a temporary directory");
        let store = Store { web_root: nowhere.path(), algorithm: store.algorithm, hooks: store.hooks };
        let mut content = self.store_file(&store, path, file);
        content.flags |= Flags::EXTERNAL;
        content
    }

    fn write_catalogs(&self, store: &Store<'_>, scratch: &Path, contents: BTreeMap<Vec<u8>, Content>) -> Catalogs {
        let mut catalogs =
            Catalogs { contents, rows: BTreeMap::new(), sub_directories: HashMap::new(), finished: BTreeMap::new() };
        catalogs.rows.insert(Vec::new(), Vec::new());
        for mountpoint in &self.nested {
            assert!(self.tree[mountpoint].is_directory(), "{} is no directory", mountpoint.escape_ascii());
            catalogs.rows.insert(mountpoint.clone(), Vec::new());
        }
        for (path, node) in &self.tree {
            let Some(parent) = tree::parent(path) else { continue };
            let mut owner = parent;
            while !owner.is_empty() && !self.nested.contains(owner) {
                owner = tree::parent(owner).unwrap_or_default();
            }
            catalogs.rows.entry(owner.to_vec()).or_default().push(path.clone());
            if node.is_directory() {
                *catalogs.sub_directories.entry(parent.to_vec()).or_default() += 1;
            }
        }
        if self.phantoms.is_some() {
            *catalogs.sub_directories.entry(Vec::new()).or_default() += 1;
        }
        // A path sorts before everything below it, so from the end children come before parents.
        let mountpoints: Vec<Vec<u8>> = catalogs.rows.keys().rev().cloned().collect();
        for mountpoint in mountpoints {
            self.write_catalog(store, scratch, &mountpoint, &mut catalogs);
        }
        catalogs
    }

    fn write_catalog(&self, store: &Store<'_>, scratch: &Path, mountpoint: &[u8], catalogs: &mut Catalogs) {
        let file = scratch.join("catalog");
        let writer = CatalogWriter::create(&file, self.page_size).expect("a new database in a temporary directory");
        let property = |key: &str, value: &[u8]| writer.set_property(key, value).expect("a property");
        property("revision", self.revision.to_string().as_bytes());
        property("last_modified", self.time().to_string().as_bytes());
        if mountpoint.is_empty() {
            property("TTL", self.ttl.to_string().as_bytes());
            if let Some(previous) = self.previous {
                property("previous_revision", previous.to_string().as_bytes());
            }
        } else {
            property("root_prefix", mountpoint);
        }
        let root_flags = if mountpoint.is_empty() { 0 } else { Flags::NESTED_ROOT };
        self.write_row(&writer, mountpoint, root_flags, catalogs, &[]);
        let paths = &catalogs.rows[mountpoint];
        let groups = self.hard_link_groups(paths);
        let link = |table, path: &[u8], hash, size| {
            let link = Link { path: path.to_vec(), hash: Some(hash), size };
            writer.put_link(table, &link).expect("a new link");
        };
        let mut below = Counters::default();
        for path in paths {
            let mut flags = 0;
            if let Some((hash, size, counters)) = catalogs.finished.get(path) {
                link(LinkTable::Nested, path, *hash, *size);
                below = below.plus(counters);
                flags = Flags::MOUNT_POINT;
            }
            if let Kind::Bind(hash, size) = &self.tree[path].kind {
                link(LinkTable::Bind, path, *hash, *size);
            }
            self.write_row(&writer, path, flags, catalogs, &groups);
        }
        if let (true, Some(phantoms)) = (mountpoint.is_empty(), &self.phantoms) {
            phantoms.write(&writer);
        }
        let statistics = Statistics { own: writer.count().expect("rows to count"), subtree: below };
        writer.set_statistics(&statistics).and_then(|()| writer.finish()).expect("the end of the database");
        let counters = statistics.total();
        let name = String::from_utf8_lossy(mountpoint);
        super::hooks::change(
            &file,
            self.hooks.catalog.iter().filter(|(wanted, _)| *wanted == name).map(|(_, hook)| hook),
        );
        let bytes = std::fs::read(&file).expect("the database just written");
        std::fs::remove_file(&file).expect("the database just written");
        let stored = store.put(&ObjectInfo::new(ObjectKind::Catalog, mountpoint, 0), bytes, Compression::Zlib);
        catalogs.finished.insert(mountpoint.to_vec(), (stored.hash, stored.plain_size, counters));
    }

    /// Names of the same file in one catalog, each group with the name of the file itself first.
    fn hard_link_groups(&self, paths: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        let mut groups: BTreeMap<&Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for path in paths {
            if let Kind::HardLink(of) = &self.tree[path].kind {
                assert!(paths.contains(of), "{} is not in the same catalog", of.escape_ascii());
                groups.entry(of).or_insert_with(|| vec![of.clone()]).push(path.clone());
            }
        }
        groups.into_values().collect()
    }

    fn write_row(&self, writer: &CatalogWriter, path: &[u8], flags: u32, catalogs: &Catalogs, groups: &[Vec<Vec<u8>>]) {
        let group = groups.iter().position(|group| group.iter().any(|member| member == path));
        // All names of a file say the same about it.
        let described = group.map_or(path, |number| &groups[number][0]);
        let node: &Node = &self.tree[described];
        let content = catalogs.contents.get(described);
        let sub_directories = catalogs.sub_directories.get(path).copied().unwrap_or(0);
        let (type_flags, size, symlink) = match &node.kind {
            Kind::Directory => (Flags::DIRECTORY, 4096, &b""[..]),
            Kind::Bind(..) => (Flags::DIRECTORY | Flags::BIND, 4096, &b""[..]),
            Kind::Symlink(target) => (Flags::FILE | Flags::LINK, target.len() as u64, &target[..]),
            Kind::Special(_, rdev) => (Flags::FILE | Flags::SPECIAL, *rdev, &b""[..]),
            Kind::File(_) | Kind::Phantom(..) | Kind::HardLink(_) => {
                let content = content.expect("hard links lead to regular files");
                (Flags::FILE | content.flags, content.size, &b""[..])
            }
        };
        let (number, links) = match group {
            Some(number) => (number as u32 + 1, groups[number].len() as u32),
            None if node.is_directory() => (0, 2 + sub_directories),
            None => (0, 1),
        };
        let row = Row {
            path: PathHash::of(path),
            parent: tree::parent(path).map_or(PathHash([0; 16]), PathHash::of),
            group: number,
            links,
            digest: content.and_then(|content| content.whole).map(|hash| hash.digest),
            size,
            mode: node.mode(),
            mtime: node.mtime,
            mtime_ns: node.mtime_ns,
            flags: type_flags | flags | node.flags,
            name: tree::name(path).to_vec(),
            target: symlink.to_vec(),
            uid: node.uid,
            gid: node.gid,
            xattr: node.xattr_blob(),
        };
        writer.put(&row).unwrap_or_else(|e| panic!("row {}: {e}", path.escape_ascii()));
        let chunks = content.iter().flat_map(|content| &content.chunks);
        let chunks = chunks.map(|(offset, size, hash)| ChunkRow { offset: *offset, size: *size, digest: hash.digest });
        let chunks: Vec<ChunkRow> = chunks.collect();
        if !chunks.is_empty() {
            writer.put_chunks(row.path, &chunks).unwrap_or_else(|e| panic!("chunks of {}: {e}", path.escape_ascii()));
        }
    }

    fn manifest_text(
        &self,
        root: ContentHash,
        root_size: u64,
        certificate: ContentHash,
        history: Option<ContentHash>,
        meta_info: Option<ContentHash>,
    ) -> String {
        let yes_no = if self.alternative_paths { "yes" } else { "no" };
        let mut fields = vec![
            ('C', root.to_string()),
            ('B', root_size.to_string()),
            ('R', "d41d8cd98f00b204e9800998ecf8427e".to_owned()),
            ('D', self.ttl.to_string()),
            ('S', self.revision.to_string()),
            ('G', "no".to_owned()),
            ('A', yes_no.to_owned()),
            ('N', self.fqrn.clone()),
            ('X', certificate.to_string()),
        ];
        fields.extend(history.map(|hash| ('H', hash.to_string())));
        fields.push(('T', self.time().to_string()));
        fields.extend(meta_info.map(|hash| ('M', hash.to_string())));
        for (letter, value) in &self.manifest_fields {
            let at = fields.iter().position(|(other, _)| other == letter);
            match (at, value) {
                (Some(at), Some(value)) => fields[at].1.clone_from(value),
                (None, Some(value)) => fields.push((*letter, value.clone())),
                (Some(at), None) => drop(fields.remove(at)),
                (None, None) => {}
            }
        }
        let text = fields.iter().map(|(letter, value)| format!("{letter}{value}\n")).collect();
        self.hooks.manifest_text.iter().fold(text, |text, change| change(text))
    }

    fn whitelist(&self) -> Vec<u8> {
        let Forge { fqrn, whitelist_created: created, whitelist_expires: expires, keys, .. } = self;
        let text = format!("{created}\nE{expires}\nN{fqrn}\n{}\n", keys.fingerprint());
        let text = self.hooks.whitelist_text.iter().fold(text, |text, change| change(text));
        let signer: &Keys = self.whitelist_keys.as_ref().unwrap_or(keys);
        let letter = signer.master.sign_whitelist(text.as_bytes(), self.algorithm).expect("a key that can sign");
        self.hooks.whitelist_bytes.iter().fold(letter, |bytes, change| change(bytes))
    }
}

impl Content {
    fn objects(&self) -> Vec<ObjectName> {
        let whole = self.whole.iter().map(|hash| ObjectName::new(*hash, ObjectKind::File));
        let chunks = self.chunks.iter().map(|(_, _, hash)| ObjectName::new(*hash, ObjectKind::Partial));
        whole.chain(chunks).collect()
    }
}

impl Published {
    fn put_alternative_copies(&self) {
        let objects = [
            (Some(self.root_catalog), ObjectKind::Catalog),
            (Some(self.certificate), ObjectKind::Certificate),
            (self.history, ObjectKind::History),
            (self.meta_info, ObjectKind::MetaInfo),
        ];
        for (hash, kind) in objects {
            let Some(object) = hash.map(|hash| ObjectName::new(hash, kind)) else { continue };
            if let Ok(bytes) = std::fs::read(self.object_file(&object)) {
                store::replace(&self.web_root.join(&object.alternative_path()[1..]), &bytes);
            }
        }
    }
}

fn os_path(bytes: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}
