"""Checks a whole repository without any code of this project: signatures with openssl, catalogs with sqlite3.

usage: check.py FQRN WEB_ROOT PUBLIC_KEY [REVISION|any-revision [reflog-may-be-newer]]
Prints one line of JSON with what was found; exits with 1 and a message at the first thing that is wrong.
"""
import hashlib, json, os, sqlite3, struct, subprocess, sys, tempfile, time, zlib

fqrn, root, public_key = sys.argv[1:4]
seen = set()


def fail(*words):
    print(*words, file=sys.stderr)
    sys.exit(1)


def need(condition, *words):
    if not condition:
        fail(*words)


def digest(data, like):
    """The hash of data by the algorithm that the text `like` names."""
    if like.endswith("-shake128"):
        return hashlib.shake_128(data).hexdigest(20) + "-shake128"
    if like.endswith("-rmd160"):
        run = subprocess.run(["openssl", "dgst", "-provider", "default", "-provider", "legacy", "-rmd160", "-r"],
                             input=data, capture_output=True, check=True)
        return run.stdout.split()[0].decode() + "-rmd160"
    return hashlib.sha1(data).hexdigest()


def stored(name, suffix):
    path = os.path.join(root, "data", name[:2], name[2:] + suffix)
    need(os.path.isfile(path), "missing object", name + suffix)
    with open(path, "rb") as file:
        data = file.read()
    need(digest(data, name) == name, "wrong content of object", name + suffix)
    seen.add(name[:2] + "/" + name[2:] + suffix)
    return data


def letter(path):
    data = open(os.path.join(root, path), "rb").read()
    end = data.index(b"\n--\n") + 1
    line_end = data.index(b"\n", end + 3)
    words = data[end + 3:line_end]
    need(digest(data[:end], words.decode()).encode() == words, "wrong hash of", path)
    return data[:end].decode(), words, data[line_end + 1:]


def recovered(key, signature):
    """What a public key makes of a signature: the padding is checked by openssl."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(signature)
        file.flush()
        run = subprocess.run(["openssl", "pkeyutl", "-verifyrecover", "-pubin", "-inkey", key, "-in", file.name,
                              "-pkeyopt", "rsa_padding_mode:pkcs1"], capture_output=True)
    need(run.returncode == 0, "signature", run.stderr.decode())
    return run.stdout


text, words, signature = letter(".cvmfspublished")
order = "".join(line[0] for line in text.splitlines())
need(order == "".join(c for c in "CBRDSGALNXHTMY" if c in order), "order of the manifest's fields", order)
fields = {line[0]: line[1:] for line in text.splitlines()}
for required in "CBRDSGANXHTY":
    need(required in fields, "no field", required)
need(fields["N"] == fqrn and fields["R"] == hashlib.md5(b"").hexdigest(), "manifest", fields)
need(abs(int(fields["T"]) - time.time()) < 24 * 3600, "time", fields["T"])
if len(sys.argv) > 4 and sys.argv[4] != "any-revision":
    need(fields["S"] == sys.argv[4], "revision", fields["S"])

pem = zlib.decompress(stored(fields["X"], "X"))
with tempfile.TemporaryDirectory() as scratch:
    certificate, key = os.path.join(scratch, "crt"), os.path.join(scratch, "pub")
    open(certificate, "wb").write(pem)
    run = lambda *arguments: subprocess.run(["openssl", *arguments], capture_output=True, check=True).stdout
    open(key, "wb").write(run("x509", "-in", certificate, "-noout", "-pubkey"))
    der = run("x509", "-in", certificate, "-outform", "DER")
    info = bytes.fromhex("3021300906052b0e03021a05000414")
    need(recovered(key, signature) == info + hashlib.sha1(words).digest(), "signature of the manifest")

text, words, signature = letter(".cvmfswhitelist")
need(recovered(public_key, signature) == words, "signature of the whitelist")
lines = text.splitlines()
need(len(lines[0]) == 14 and lines[1][0] == "E" and len(lines[1]) == 15 and lines[2] == "N" + fqrn, "whitelist", lines)
need(time.strftime("%Y%m%d%H", time.gmtime()) < lines[1][1:11], "expired", lines[1])
fingerprint = ":".join("%02X" % byte for byte in hashlib.sha1(der).digest())
need(fingerprint in [line.split(" ")[0] for line in lines[3:]], "the certificate is not on the whitelist")


def md5(path):
    return struct.unpack("<qq", hashlib.md5(path).digest())


scratch = tempfile.TemporaryDirectory()


def database(name, suffix, size=None):
    plain = zlib.decompress(stored(name, suffix))
    need(size is None or len(plain) == size, "size of", name, len(plain), size)
    path = os.path.join(scratch.name, name)
    open(path, "wb").write(plain)
    db = sqlite3.connect(path)
    db.text_factory = bytes
    need(db.execute("PRAGMA integrity_check").fetchone()[0] in (b"ok", "ok"), "integrity of", name)
    return db


COUNTERS = ["regular", "symlink", "special", "dir", "nested", "chunked", "chunks", "file_size", "chunked_size", "xattr",
            "external", "external_file_size"]
SUFFIX = {0: "", 1: "-rmd160", 2: "-shake128"}


def catalog(name, size, mountpoint, above):
    """Checks a catalog and all below; returns its counters, own and below summed."""
    db = database(name, "C", size)
    rows = lambda query, *values: db.execute(query, values).fetchall()
    properties = {k.decode(): v.decode("latin1") for k, v in rows("SELECT * FROM properties")}
    need(properties["schema"] == "2.5" and properties["schema_revision"] == "7", "schema", properties)
    need(properties.get("root_prefix", "").encode("latin1") == mountpoint, "root prefix", properties)
    need(int(properties["last_modified"]) > 0 and "previous_revision" in properties, properties)
    if not mountpoint:
        need(properties["revision"] == fields["S"] and properties["TTL"] == fields["D"], properties, fields)
    nested = {path: (sha1.decode(), size) for path, sha1, size in rows("SELECT path, sha1, size FROM nested_catalogs")}
    own = dict.fromkeys(COUNTERS, 0)
    own["nested"] = len(nested)
    below = dict.fromkeys(COUNTERS, 0)
    groups, visited = {}, 0
    chunk_rows = rows("SELECT count(*) FROM chunks")[0][0]

    def check(path, row, is_root):
        nonlocal visited
        visited += 1
        (_, _, _, _, hardlinks, digest_, size, mode, _, nanoseconds, flags, _, target, _, _, attributes) = row
        kind, links, group = mode >> 12, hardlinks & 0xffffffff, hardlinks >> 32
        shown = path.decode("latin1")
        need(nanoseconds is None or 0 <= nanoseconds < 10**9, "nanoseconds of", shown)
        need(attributes is None or attributes[0] == 1 and attributes[1] > 0, "attributes of", shown)
        own["xattr"] += attributes is not None
        algorithm, compression = SUFFIX[flags >> 8 & 7], flags >> 11 & 7
        if kind == 4:
            own["dir"] += 1
            need(digest_ is None and flags & ~0x8000 == (0x21 if is_root and mountpoint else 3 if path in nested else 1),
                 "flags of", shown, hex(flags))
            return
        need(path not in nested and not is_root, "no directory", shown)
        need(group or links == 1, "links of", shown)
        if group:
            groups.setdefault(group, []).append((os.path.dirname(path), links, row[5:11] + row[12:]))
        if kind == 10:
            own["symlink"] += 1
            need(flags == 12 and digest_ is None and size == len(target) and target, "link", shown)
        elif kind != 8:
            own["special"] += 1
            need(flags == 20 and digest_ is None, "special file", shown)
        else:
            own["regular"] += 1
            own["file_size"] += size
            external = flags & 0x80
            own["external"] += external > 0
            own["external_file_size"] += size if external else 0
            need(flags & ~0x3fc0 == 4, "flags of", shown, hex(flags))
            pieces = rows("SELECT offset, size, hash FROM chunks WHERE md5path_1 = ? AND md5path_2 = ? ORDER BY offset",
                          *md5(path))
            if flags & 0x40:
                own["chunked"] += 1
                own["chunked_size"] += size
                own["chunks"] += len(pieces)
                need(digest_ is None and len(pieces) > 1, "chunks of", shown)
            else:
                need(not pieces and digest_ and len(digest_) == 20, "content of", shown)
                pieces = [(0, size, digest_)]
            end = 0
            for offset, length, hash_ in pieces:
                need(offset == end, "hole or overlap in", shown)
                end += length
                if not external:
                    data = stored(hash_.hex() + algorithm, "P" if flags & 0x40 else "")
                    plain = data if compression else zlib.decompress(data)
                    need(len(plain) == length, "size of a piece of", shown)
            need(end == size, "size of", shown)

    def walk(path):
        columns = "SELECT * FROM catalog WHERE parent_1 = ? AND parent_2 = ?"
        directories = 0
        for row in rows(columns, *md5(path)):
            child = path + b"/" + row[11]
            need(row[:2] == md5(child) and b"/" not in row[11] and row[11] not in (b"", b".", b".."), "key of", child)
            check(child, row, False)
            if row[7] >> 12 == 4:
                directories += 1
                if child in nested:
                    total = catalog(*nested[child], child, row)
                    for name in COUNTERS:
                        below[name] += total[name]
                else:
                    need(row[4] == 2 + walk(child), "links of", child)
        return directories

    (first, second) = md5(mountpoint)
    root_row = rows("SELECT * FROM catalog WHERE md5path_1 = ? AND md5path_2 = ?", first, second)
    need(len(root_row) == 1, "no root row in", mountpoint)
    root_row = root_row[0]
    need(root_row[2:4] == ((0, 0) if not mountpoint else md5(os.path.dirname(mountpoint).rstrip(b"/"))), "parent")
    check(mountpoint, root_row, True)
    need(root_row[4] == 2 + walk(mountpoint), "links of", mountpoint)
    if above:
        need(root_row[4:10] + root_row[11:] == above[4:10] + above[11:], "the two rows of", mountpoint)
    for members in groups.values():
        need(len({member[0] for member in members}) == 1 and len({member[2] for member in members}) == 1, members)
        need(all(member[1] == len(members) > 1 for member in members), "numbers of names", members)
    need(visited == rows("SELECT count(*) FROM catalog")[0][0], "rows that no directory has in", mountpoint)
    need(own["chunks"] == chunk_rows, "chunks of no file in", mountpoint)
    stated = {k.decode(): v for k, v in rows("SELECT * FROM statistics")}
    computed = {"self_" + k: v for k, v in own.items()} | {"subtree_" + k: v for k, v in below.items()}
    need(stated == computed, "counters of", mountpoint, stated, computed)
    return {name: own[name] + below[name] for name in COUNTERS}


total = catalog(fields["C"], int(fields["B"]), b"", None)

history = database(fields["H"], "H")
properties = dict(history.execute("SELECT * FROM properties").fetchall())
need(properties[b"schema"] == b"1.0" and properties[b"schema_revision"] == b"3" and properties[b"fqrn"].decode() == fqrn, properties)
tags = history.execute("SELECT name, hash, revision, timestamp, channel, description, size, branch FROM tags").fetchall()
for name, hash_, revision, _, channel, _, size, branch in tags:
    plain = zlib.decompress(stored(hash_.decode(), "C"))
    need(len(plain) == size and channel == 0, "tag", name)
trunk = [tag for tag in tags if tag[0] == b"trunk"]
need(len(trunk) == 1 and trunk[0][1].decode() == fields["C"] and str(trunk[0][2]) == fields["S"], "trunk", trunk)

reflog = open(os.path.join(root, ".cvmfsreflog"), "rb").read()
if "reflog-may-be-newer" not in sys.argv:
    need(digest(reflog, fields["Y"]) == fields["Y"], "hash of the reflog")
log = sqlite3.connect(os.path.join(root, ".cvmfsreflog"))
refs = {(hash_, kind) for hash_, kind, _ in log.execute("SELECT hash, type, timestamp FROM refs")}
need({(fields["C"], 0), (fields["X"], 1), (fields["H"], 2)} <= refs, "the reflog lacks objects of the manifest")
need("M" not in fields or (fields["M"], 3) in refs, "the reflog lacks the meta information")
need(os.path.isfile(os.path.join(root, ".cvmfs_master_replica")), "no mark for replicas")
need(isinstance(json.load(open(os.path.join(root, ".cvmfs_status.json"))), dict), "status")
print(json.dumps({"revision": int(fields["S"]), "tags": sorted(tag[0].decode() for tag in tags), "total": total,
                  "objects": len(seen)}))
