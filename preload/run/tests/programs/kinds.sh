#!/usr/bin/env bash
# Makes the tree for cases.sh below DIRECTORY/opt, and the programs of kinds/ in TOOLS. Usage: kinds.sh DIRECTORY TOOLS ROOT
# where ROOT is the place at which the tree will be seen. Programs that cannot be built here are left out.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
mkdir -p "$1/opt" "$2"
tools=$(realpath "$2")
root=$3
cd "$1/opt"

mkdir -p project/src project/include/lib
cat >project/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.20)
project(little LANGUAGES C CXX)
enable_testing()
find_package(Threads REQUIRED)
add_library(little SHARED src/little.cpp)
target_include_directories(little PUBLIC include)
configure_file(include/config.h.in config.h)
target_include_directories(little PRIVATE ${CMAKE_BINARY_DIR})
add_executable(main src/main.c)
target_link_libraries(main little Threads::Threads)
file(GLOB parts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/part*.c)
add_library(parts STATIC ${parts})
add_test(NAME main COMMAND main ${CMAKE_SOURCE_DIR}/src/main.c)
END
echo '#define VERSION "@CMAKE_VERSION@"' >project/include/config.h.in
printf 'extern "C" int little(const char *path);\n' >project/include/lib/little.hpp
cat >project/src/little.cpp <<'END'
#include <lib/little.hpp>
#include "config.h"
#include <filesystem>
#include <fstream>
#include <string>
int little(const char *path) {
    std::ifstream file(path);
    std::string line;
    int count = 0;
    while (std::getline(file, line)) count++;
    for (auto &entry : std::filesystem::recursive_directory_iterator(std::filesystem::path(path).parent_path())) count += entry.is_regular_file();
    return count;
}
END
cat >project/src/main.c <<'END'
#include <stdio.h>
int little(const char *);
int main(int argc, char **argv) { printf("%d\n", little(argv[argc - 1])); return 0; }
END
for i in $(seq 40); do echo "int part$i(void) { return $i; }" >"project/src/part$i.c"; done

mkdir -p many/inc
for i in $(seq 500); do echo "#define M$i $i" >"many/inc/h$i.h"; done
{
    printf 'OUT=.\nall: '
    for i in $(seq 100); do printf '$(OUT)/o%d ' "$i"; done
    for i in $(seq 100); do
        printf '\n$(OUT)/o%d:' "$i"
        for k in 0 1 2 3 4; do printf ' $(SRC)/inc/h%d.h' $((i * 5 - k)); done
        printf '\n\t@cat $^ > $@\n'
    done
} >many/Makefile

export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org GIT_CONFIG_NOSYSTEM=1
git -c init.defaultBranch=main init -q repo
(cd repo && for i in $(seq 300); do echo "file $i" >"f$i"; done && git add . && git commit -qm one && git gc -q && echo x >>f3 && git commit -qam two)

if type -P sqlite3 >/dev/null; then
    sqlite3 test.db "create table t(a integer primary key, b text); with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000) insert into t select x, 'row ' || x from c; create index i on t(b);"
fi

mkdir -p origin/bin origin/lib
printf 'int one(void) { return 41; }' | gcc -shared -fPIC -Wl,-soname,libone.so.1 -o origin/lib/libone.so.1 -x c -
ln -sf libone.so.1 origin/lib/libone.so
cat >origin/main.c <<'END'
#include <stdio.h>
#include <unistd.h>
int one(void);
int main(void) { char exe[4096] = ""; readlink("/proc/self/exe", exe, sizeof exe - 1); printf("%d %s\n", one(), exe); return 0; }
END
gcc -w -o origin/bin/main origin/main.c -Lorigin/lib -lone '-Wl,-rpath,$ORIGIN/../lib'
printf '#!/bin/sh\necho "$0: $*"; pwd\n' >origin/bin/script
printf '#!/usr/bin/env -S bash -e\necho "env $0"\n' >origin/bin/by-env
printf '#!%s/opt/origin/bin/script first\n' "$root" >origin/bin/own
chmod 755 origin/bin/*

cat >configure <<'END'
#!/bin/sh
# What configure scripts do: hundreds of small tests that compile, run, look and clean up.
found=0
for header in stdio stdlib string unistd fcntl errno math time sys/types sys/stat sys/mman sys/wait none sys/none; do
    printf '#include <%s.h>\nint main(void) { return 0; }\n' "$header" >conftest.c
    if gcc -I"$R/opt/many/inc" -c conftest.c -o conftest.o 2>conftest.err; then found=$((found + 1)); fi
    rm -f conftest.c conftest.o conftest.err
done
echo "$found headers"
for program in cat ls script main none python3 perl; do
    IFS=:
    where=none
    for d in $PATH:$R/opt/origin/bin; do [ -x "$d/$program" ] && where=found && break; done
    unset IFS
    echo "$program $where"
done | sort | tr '\n' ' '
echo
test -d "$R/opt/project" && test ! -e "$R/opt/none" && (cd "$R/opt/repo/.." && pwd -P)
END

cd "$here/kinds"
for source in *.c; do
    name=${source%.c}
    library=
    case $name in uring) library=-luring ;; jemalloc) library=-ljemalloc ;; esac
    gcc -w -O1 -g -pthread -o "$tools/$name" "$source" $library || echo "without $name" >&2
done
gcc -w -m32 -pthread -o "$tools/plain32" plain.c 2>/dev/null || echo "without plain32" >&2
