# What is done with programs and trees below $R, by whom it may be seen. Each function is one case; what it prints is
# compared with what it prints where $R is a plain directory. $W is an empty directory for results.
# shellcheck shell=bash disable=SC2329

# Runs a command with the programs and libraries of the tree before those of the machine.
of_tree() {
    PATH=$R/usr/bin:$R/usr/sbin:$PATH LD_LIBRARY_PATH=$R/usr/lib/x86_64-linux-gnu "$@"
}

files() { find "$@" -type f -print0 | sort -z | xargs -0 sha256sum; }

rsync_copies() {
    rsync -a "$R/opt/project/" "$W/copy/" && rsync -acni "$R/opt/project/" "$W/copy/"
    (cd "$W/copy" && files . | sha256sum)
    of_tree rsync -a --checksum --stats "$R/opt/many" "$W/" | grep -E '^Number of (regular )?files'
}

cp_du_and_tar() {
    cp -a "$R/opt/many" "$W/" && diff -r "$R/opt/many" "$W/many" && echo same
    du -bc "$R"/opt/many/inc/*.h | tail -n 1
    tar -C "$R/opt" -c --sort=name --owner=0 --group=0 project | tar -t | sha256sum
    (cd "$R/opt" && find project | sort | cpio -o -H newc 2>/dev/null) | (cd "$W" && cpio -idm 2>/dev/null) && files "$W/project" | wc -l
}

git_clones() {
    export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' GIT_OPTIONAL_LOCKS=0
    git clone -q "$R/opt/repo" "$W/local" && git -C "$W/local" log --oneline --stat && git -C "$W/local" fsck 2>&1
    git clone -q --no-local "$R/opt/repo" "$W/pack" && git -C "$W/pack" diff HEAD~1
    git clone -q --shared "$R/opt/repo" "$W/shared" && git -C "$W/shared" rev-parse HEAD
    git -C "$R/opt/repo" status --short && git -C "$R/opt/repo" grep -c 'file 7' | sort
    git -C "$R/opt/repo" worktree add "$W/tree" 2>&1 | grep -oE 'Read-only|fatal|Preparing' | head -n 1
}

cmake_builds() {
    of_tree cmake -S "$R/opt/project" -B "$W/build" -G Ninja -DCMAKE_BUILD_TYPE=Release | grep -vE 'done$|identification is|Detecting|files have been written|Check for'
    of_tree ninja -C "$W/build" | grep -c Building
    (cd "$W/build" && of_tree ctest 2>&1 | grep -E 'tests passed|Passed' | sed 's/ *[0-9.]* sec//')
    "$W/build/main" "$R/opt/project/src/main.c"
    of_tree cmake -S "$R/opt/project" -B "$W/make" -G 'Unix Makefiles' >/dev/null && make -s -j4 -C "$W/make" | grep -oE 'Linking .*' | sort
    of_tree ninja -C "$W/build" | tail -n 1
}

java_runs() {
    java=$R/usr/lib/jvm/java-17-openjdk-amd64/bin
    "$java/java" -XX:-UsePerfData -version 2>&1 | head -n 1
    "$java/java" -XX:-UsePerfData -cp "$R/opt/java" Hello "$R/opt/project"
    "$java/java" -XX:-UsePerfData -jar "$R/opt/java/hello.jar" "$R/opt/project"
    "$java/javac" -d "$W" "$R/opt/java/Hello.java" && (cd "$W" && "$java/java" -XX:-UsePerfData Hello "$R/opt/project")
    cd "$R/opt/java" && "$java/java" -XX:-UsePerfData -Xshare:auto Hello ../project
}

node_runs() {
    cd "$R/opt/node" && bin/node main.js
    cd / && "$R/opt/node/bin/node" "$R/opt/node/main.js"
    "$R/opt/node/bin/node" "$R/opt/node/node_modules/.bin/tsc" --version
}

python_computes() {
    export PYTHONDONTWRITEBYTECODE=1
    of_tree env PYTHONHOME="$R/usr" "$R/usr/bin/python3.11" -c '
import numpy, sys, os, json, sqlite3, ssl, lzma, ctypes, multiprocessing
print(numpy.__version__, numpy.__file__, sys.prefix, sys.executable)
a = numpy.arange(90000.).reshape(300, 300)
print(round(float(numpy.linalg.norm(a @ a.T)), -6), numpy.fft.fft(a)[0, 0].real)
m = numpy.memmap(json.__file__, dtype="u1", mode="r"); print(int(m.sum()))
with multiprocessing.get_context("spawn").Pool(2) as p: print(p.map(abs, [-1, -2]))
with multiprocessing.get_context("fork").Pool(2) as p: print(p.map(os.path.exists, [json.__file__, "/none"]))
'
}

python_environments() {
    export PYTHONDONTWRITEBYTECODE=1
    python=$R/usr/bin/python3.11
    "$python" -m venv --without-pip "$W/venv" && "$W/venv/bin/python" -c 'import sys; print(sys.prefix == sys.base_prefix, sys.base_prefix)'
    "$python" -m venv --symlinks --without-pip "$W/links" && "$W/links/bin/python3" -c 'import sys, os; print(os.path.realpath(sys.executable))'
    python3 -m pip install -q --no-deps --no-index --target "$W/site" "$R"/opt/wheels/six*.whl 2>&1 | grep -v 'running pip as' ; PYTHONPATH=$W/site python3 -c 'import six; print(six.__version__)'
    PYTHONPATH=$R/opt/wheels/$(basename "$R"/opt/wheels/six*.whl) python3 -c 'import six; print(six.__file__)'
}

pythia_makes_events() {
    of_tree env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$R/opt/py" python3.11 -c '
import pythia8mc
p = pythia8mc.Pythia("", False)
p.readString("Print:quiet = on"); p.readString("Beams:eCM = 8000."); p.readString("HardQCD:all = on"); p.readString("PhaseSpace:pTHatMin = 20.")
p.init()
n = [0, 0]
for i in range(20):
    if p.next(): n[0] += 1; n[1] += p.event.size()
print(n)'
}

perl_loads() {
    of_tree env PERL5LIB="$R/usr/share/perl/5.36:$R/usr/lib/x86_64-linux-gnu/perl/5.36" perl -MFile::Find -MFile::Copy -MPOSIX -MData::Dumper -MStorable -MDigest::SHA -e '
      print $INC{"POSIX.pm"}, "\n"; my $n = 0; find({ wanted => sub { $n++ if -f }, no_chdir => 1 }, "$ENV{R}/opt/project"); print "$n\n"; $n = 0; find(sub { $n++ if -f }, "$ENV{R}/opt/project"); print "$n\n";
      copy("$ENV{R}/opt/test.db", "$ENV{W}/db") or die; print Digest::SHA->new(256)->addfile("$ENV{W}/db")->hexdigest, "\n"; print join(" ", sort glob("$ENV{R}/opt/pro*/src/part1*.c")), "\n"; open my $f, ">", "$ENV{R}/x" or print "$!\n"'
}

gcc_compiles() {
    of_tree gcc --sysroot="$R" -O1 -I"$R/opt/many/inc" -o "$W/main" -x c - <<<'#include <h1.h>
      #include <stdio.h>
      int main(void) { printf("%d %s\n", M1, __DATE__ ? "ok" : ""); return 0; }' && "$W/main"
    of_tree g++ --sysroot="$R" -std=c++20 -M "$R/opt/project/src/little.cpp" -I"$R/opt/project/include" -I"$R/opt/project/include" -include /dev/null -D'VERSION=""' 2>&1 | tr ' ' '\n' | grep -c "^$R"
    of_tree gcc -print-file-name=crt1.o
}

go_builds() {
    export GOFLAGS=-mod=mod GOCACHE=$GO_CACHE GOPATH=$W/go GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0
    cd "$R/opt/go" && go build -o "$W/walk" . && "$W/walk" "$R/opt/project" && go vet ./... && go list ./...
}

search_paths() {
    mkdir "$W/a" && printf 'int one(void) { return 1; }' | gcc -shared -fPIC -o "$W/a/libone.so.1" -x c -
    LD_LIBRARY_PATH=$W/a "$R/opt/origin/bin/main"; LD_LIBRARY_PATH=$R/opt/origin/lib "$R/opt/origin/bin/main"
    "$R/opt/origin/bin/main"; cd "$R/opt/origin/bin" && ./main; cd / && PATH=$R/opt/origin/bin:$PATH main
    "$R/opt/origin/bin/script" a b; cd "$R/opt/origin/bin" && ./script c; "$R/opt/origin/bin/by-env"; "$R/opt/origin/bin/own" d
}

library_lists() {
    LD_LIBRARY_PATH=$R/usr/lib/x86_64-linux-gnu "$R/usr/bin/xz" --version | head -n 1
    LD_LIBRARY_PATH=$R/usr/lib/x86_64-linux-gnu ldd "$R/usr/bin/git" | grep -oE '=> [^ ]+' | sort
}

sqlite_reads() {
    sqlite3 "file:$R/opt/test.db?mode=ro" "select count(*), max(b) from t where b like 'row 1%'"
    sqlite3 "file:$R/opt/test.db?immutable=1" 'pragma integrity_check'
    sqlite3 "$R/opt/test.db" 'insert into t values(0, 0)' 2>&1; of_tree sqlite3 -readonly "$R/opt/test.db" 'select sum(a) from t'
    cd "$R/opt" && sqlite3 test.db .schema
}

find_and_xargs() {
    find "$R/opt/many" -name 'h1*.h' -exec cat {} + | sort | sha256sum; find "$R/opt/project" -name '*.c' -exec wc -c {} \; | sort | sed "s:$R::" | sha256sum
    find "$R/opt/many/inc" -type f -print0 | xargs -0 -P8 -n 20 sha256sum | sed "s:$R::" | sort | sha256sum
    seq 40 | xargs -P16 -I@ sh -c 'cd "$R/opt/project/src" && cat "part@.c" && ./../../origin/bin/script @' | sed "s:$R::" | sort | sha256sum
    find "$R/opt/project" -newer "$R/opt/project/CMakeLists.txt" -o -type f -size -1k | wc -l; find "$R/opt/project/src" -execdir sh -c 'echo "$1"; pwd' sh {} \; | sed "s:$R::" | sort | sha256sum
    find "$R/opt/many" -printf '%p %m %y %T@ %d %l\n' | sort | sed "s:$R::" | sha256sum
}

parallel_walkers() {
    rg --no-config -c define "$R/opt/many" | wc -l; rg --no-config --files "$R/opt" | wc -l; of_tree rg --no-config -l --sort path 'part1[0-9]' "$R/opt/project"
    cd "$R/opt" && rg --no-config -u -j4 -c 'return' project | sort; fdfind -j 4 -e h . many | wc -l; fdfind -x wc -c \; -e cpp . project
}

shell_features() {
    diff <(sort "$R/opt/many/Makefile") <(sort -S 1M -T "$W" --parallel=4 "$R/opt/many/Makefile") && echo same
    tail -n 2 -f --pid=$$ "$R/opt/project/src/main.c" & tail_pid=$!; sleep 0.3; kill $tail_pid; wait $tail_pid 2>/dev/null
    cd "$R/opt/project" && for f in src/part[1-3].c; do read -r line <"$f"; echo "$line"; done; mapfile -t lines < CMakeLists.txt; echo ${#lines[@]}
    pushd src >/dev/null && pwd && cd ../include/lib && pwd && popd >/dev/null && pwd; cd -P ../src; echo "$PWD"; exec 7<part1.c; cat <&7; cat /dev/fd/7; exec 7<&-; test -r part2.c -a ! -w part2.c; echo $?
    [ part1.c -ot /proc/self ]; echo $?; echo text > part1.c; echo $?; : >> part1.c; echo $?; type -P script; compgen -G "$R/opt/project/src/part1*.c" | sort
}

editors_and_pagers() {
    vim.tiny -u NONE -es -R -c '%print' -c 'q!' "$R/opt/project/src/main.c"; ed -s "$R/opt/project/src/main.c" <<<$',p\nq\n'
    less -F "$R/opt/project/src/main.c" </dev/null | cat; file -b "$R/opt/test.db" "$R/usr/bin/gzip" "$R/opt/project/src/main.c" | cut -c 1-60
    head -c 8 "$R/opt/test.db" | od -c | head -n 1; of_tree file "$R/opt/origin/bin/script" | cut -d : -f 2
}

pipelines() {
    unzip -l "$R"/opt/wheels/six*.whl | tail -n 1; (cd "$W" && unzip -q "$R"/opt/wheels/six*.whl && ls)
    zcat "$R"/usr/share/info/*.gz 2>/dev/null | wc -c; xz -9 -c "$R/opt/many/Makefile" | xz -dc | cmp - "$R/opt/many/Makefile" && echo same
    split -n 4 "$R/opt/test.db" "$W/part." && cat "$W"/part.* | cmp - "$R/opt/test.db" && dd if="$R/opt/test.db" bs=4k skip=3 count=2 2>/dev/null | sha256sum
    cat "$R"/opt/project/src/part?.c | tee "$W/t" | wc; install -m 644 "$R/opt/test.db" "$W/installed" && cmp "$W/installed" "$R/opt/test.db" && stat -c '%a %s' "$W/installed"; comm -12 <(ls "$R/opt/project/src") <(ls "$R/opt/project/src") | wc -l
}

make_stats() {
    make -s -j8 -f "$R/opt/many/Makefile" SRC="$R/opt/many" OUT="$W" && make -j8 -f "$R/opt/many/Makefile" SRC="$R/opt/many" OUT="$W"; cat "$W"/o* | sha256sum
}

jemalloc_preloaded() {
    LD_PRELOAD=libjemalloc.so.2 MALLOC_CONF=stats_print:false cat "$R/opt/project/src/main.c"
    LD_PRELOAD=libjemalloc.so.2 bash -c 'cd "$R/opt" && ls && grep -c jemalloc /proc/self/maps >/dev/null && echo loaded; env | grep -c LD_PRELOAD'
    "$TOOLS/jemalloc" "$R/opt/project/src/main.c"
}

io_uring_falls_back() { "$TOOLS/uring" "$R/opt/project/src/main.c"; }

inotify_watches() {
    timeout 10 inotifywait -q -t 1 "$R/opt/project"; echo $?; timeout 10 inotifywait -q -t 1 -r "$R/opt/project/src"; echo $?
}

fanotify_marks() { "$TOOLS/fanotify" "$R/opt/project"; }

descriptors_closed() { "$TOOLS/closeall" "$R/opt/project/src/main.c" "$R/opt/origin/bin/script"; }

daemons() { "$TOOLS/daemon" "$R/opt/project/src/main.c" "$W/out" && for _ in $(seq 50); do [ -s "$W/out.done" ] && break; sleep 0.1; done; cat "$W/out"; (setsid "$R/opt/origin/bin/script" orphan > "$W/setsid" &); for _ in $(seq 50); do [ -s "$W/setsid" ] && break; sleep 0.1; done; cat "$W/setsid"; nohup cat "$R/opt/project/src/main.c" 2>/dev/null; }

own_seccomp() { "$TOOLS/seccomp" "$R/opt/project/src/main.c" "$R/opt/origin/bin/script"; }

debuggers_run_inside() {
    strace -f -o "$W/trace" cat "$R/opt/project/src/main.c"; grep -c openat "$W/trace" >/dev/null && echo traced
    strace -f -o "$W/trace" "$TOOLS/plain" "$R/opt/project/src/main.c"
}

gdb_breaks() {
    gdb -nx -q -batch -ex 'break main' -ex run -ex 'info breakpoints' -ex continue --args "$TOOLS/plain" "$R/opt/project/src/main.c" 2>&1 | grep -E '^Breakpoint 1, |exited normally|int main|int little' | sed 's/0x[0-9a-f]*/@/g; s/process [0-9]*/process/'
}

tracers_start_programs() {
    strace -f -o "$W/trace" "$R/opt/origin/bin/main" 2>&1; strace -f -o "$W/trace" bash -c 'cd "$R/opt" && pwd' 2>&1
}

valgrind_checks() { valgrind -q --error-exitcode=9 "$TOOLS/plain" "$R/opt/project/src/main.c"; valgrind -q "$R/opt/origin/bin/main"; }

terminal_multiplexer() {
    TMUX_TMPDIR=$W tmux -L s -f /dev/null new-session -d -x 80 -y 24 "cat $R/opt/project/src/main.c > $W/out; cd $R/opt/project && pwd > $W/pwd; sleep 1" && for _ in $(seq 50); do [ -s "$W/pwd" ] && break; sleep 0.1; done; cat "$W/out" "$W/pwd"
}

set_user_id() { su nobody -s /bin/sh -c 'id -un; head -n 1 "$R/opt/project/src/main.c"' 2>&1; cp "$(type -P id)" "$W/id" && chmod 4755 "$W/id" && "$W/id" -u; }

sandbox() { bwrap --dev-bind / / --unshare-pid --proc /proc head -n 1 "$R/opt/project/src/main.c" 2>&1; }

thirty_two_bits() { "$TOOLS/plain32" /etc/hostname >/dev/null; echo $?; "$TOOLS/plain32" "$R/opt/project/src/main.c" 2>&1; }

configure_like() { cd "$W" && sh "$R/opt/configure" | tail -n 3; }
