#!/usr/bin/env bash
# Makes a small distribution below DIRECTORY out of the programs of this machine: each file at its own path, the loader
# and all libraries with it. Usage: distribution.sh DIRECTORY
set -euo pipefail
mkdir -p "$1"/{bin,own,src,usr/bin}
root=$(realpath "$1")
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# `cp --parents` looks for the directories of a path from where it is.
cd /
export LC_ALL=C

# take PATH...: these files, links followed, and the libraries that they need.
take() {
    local file
    for file in "$@"; do
        file=$(realpath -s "$file")
        cp --parents -pL "${file#/}" "$root"
        { ldd "$file" 2>/dev/null || true; } | { grep -oE '/[^ ]+\.so[^ ]*' || true; } | sort -u | while read -r library; do
            [ -e "$root$library" ] || cp --parents -pL "${library#/}" "$root"
        done
    done
}

# command_of NAME: a program in bin/ under its own name.
command_of() {
    local file
    file=$(type -P "$1")
    take "$file"
    ln -sf "..$(realpath -s "$file")" "$root/bin/$1"
}

for name in bash sh cat ls wc sort sha256sum head tr cp mkdir rm echo env sed grep true find xargs tar make; do
    command_of "$name"
done

# git, with the one helper that a local clone starts by name.
command_of git
mkdir -p "$root/libexec"
for name in git git-upload-pack; do ln -s ../bin/git "$root/libexec/$name"; done

printf '#!/bin/sh\npwd\n' >"$root/bin/pwd-of-here"
chmod 755 "$root/bin/pwd-of-here"

# perl with some of the modules that it comes with.
command_of perl
mkdir "$root/perl"
perl -e 'print "$_\n" for grep { -d && !/local|vendor|site/ } @INC' | while read -r directory; do
    cd "$directory"
    for part in auto/Cwd auto/Fcntl auto/List auto/POSIX auto/IO auto/re File Scalar List IO warnings overload \
        {Exporter,Cwd,Carp,strict,warnings,constant,vars,Config,Config_heavy,overload,overloading,XSLoader,re,Fcntl,POSIX,IO,Symbol,SelectSaver,parent}.p[ml] Exporter; do
        if [ -e "$part" ]; then cp --parents -rnpL "$part" "$root/perl"; fi
    done
done

# python3 with its standard library, without what is only for its own tests and for installing more.
python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
mkdir -p "$root/python/bin" "$root/python/lib"
cp -pL "$python" "$root/python/bin/python3"
tar -C "$(dirname "$library")" -c --exclude=test --exclude=tests --exclude=__pycache__ --exclude='*-packages' --exclude='config-*' \
    --exclude=idlelib --exclude=lib2to3 --exclude=ensurepip --exclude=tkinter --exclude=turtledemo --exclude=pydoc_data \
    "$(basename "$library")" | tar -x -C "$root/python/lib"

# The C compiler, with the headers and libraries that one program needs.
printf '#include <stdio.h>\n#include <string.h>\n#include <shared.h>\nint main(int argc, char **argv) { puts(GREETING); return strlen(argv[0]) == 0; }\n' \
    >"$root/src/hello.c"
mkdir -p "$root/usr/include"
printf '#define GREETING "hello from " __FILE__\n' >"$root/usr/include/shared.h"
command_of gcc
for name in cc1 collect2 as ld; do
    program=$(gcc -print-prog-name="$name")
    take "$(type -P "$program")"
done
for name in liblto_plugin.so crt1.o Scrt1.o crti.o crtn.o crtbeginS.o crtendS.o libgcc.a libgcc_s.so libgcc_s.so.1 libc.so libc_nonshared.a libc.so.6; do
    take "$(gcc -print-file-name="$name")"
done
gcc -I"$root/usr/include" -M "$root/src/hello.c" | tr -d '\\' | tr ' ' '\n' | grep '^/.*\.h$' | grep -v "^$root" | while read -r header; do
    take "$header"
done

# A tree for make, and a repository with two commits.
mkdir "$root/src/made"
printf 'all: one two\nVPATH = $(SOURCE)\n%%: %%.in\n\t@echo making $@; tr a-z A-Z <$< >$@\ninclude $(SOURCE)/more.mk\n' >"$root/src/made/Makefile"
printf 'two: one\n' >"$root/src/made/more.mk"
echo first >"$root/src/made/one.in"
echo second >"$root/src/made/two.in"
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1 HOME=$root
git -c init.defaultBranch=main init -q "$root/src/project"
cd "$root/src/project"
for number in $(seq 40); do echo "file $number" >"file$number"; done
git add . && git commit -q -m 'Forty files'
git gc -q
echo more >>file7 && rm file9 && git add -A && git commit -q -m 'One more line, one file less'

# Programs that are served by the kernel's help only.
printf '#include <stdio.h>\n#include <unistd.h>\nint main(void) { char exe[4096] = ""; readlink("/proc/self/exe", exe, sizeof exe - 1); puts(exe); return 0; }\n' >"$root/src/exe.c"
cd "$here" && CGO_ENABLED=0 go build -o "$root/bin/walk" walk.go
if busybox=$(type -P busybox); then cp -pL "$busybox" "$root/bin/busybox"; fi
