complete -c cvmfs-run -s o -d 'Set an official parameter, such as CVMFS_HTTP_PROXY; beats environment and configuration files' -r
complete -c cvmfs-run -l mode -d 'How the program is made to see /cvmfs' -r -f -a "auto\t'The best that works here'
full\t'A supervisor that answers system calls: all programs, static ones too'
shim\t'The supervisor, and a small library that answers most calls inside of dynamically linked programs'
trace\t'As \'shim\', where the kernel gives no listener: the supervisor traces all programs'
preload\t'The preload library: dynamically linked glibc programs'"
complete -c cvmfs-run -l record -d 'Write a list of what the program uses into this file, for --prefetch and \'cvmfs prefetch --from-list\'' -r -F
complete -c cvmfs-run -l prefetch -d 'Fetch what this list names, in the background from the start on; the program does not wait for it' -r -F
complete -c cvmfs-run -l root -d 'Run the program in a root of its own: this operating system\'s tree, of the host or below /cvmfs' -r -F
complete -c cvmfs-run -l layer -d 'With --root: a directory for what is written; more of them lie below it and are only read' -r -F
complete -c cvmfs-run -l bind -d 'With --root: show a file or directory of the host inside, writable unless \':ro\' follows' -r
complete -c cvmfs-run -l empty -d 'With --root: show an empty directory there instead of the tree\'s; what is written there goes into --layer' -r -F
complete -c cvmfs-run -l env -d 'With --root: set a variable for the program that cvmfs-run does not see, such as HOME' -r
complete -c cvmfs-run -l serve -d 'Be the helper process that listens at this socket' -r -F
complete -c cvmfs-run -l fetch -d 'Fetch what this list names' -r -F
complete -c cvmfs-run -l generate -d 'Write manual page and shell completions into this directory' -r -F
complete -c cvmfs-run -l bare -d 'Do without the small library in the programs: every call is answered by the supervisor, as with \'full\''
complete -c cvmfs-run -l demo -d 'Use the demo repository that is part of this program; needs no network and no configuration'
complete -c cvmfs-run -l pin -d 'Stay at the snapshot of each repository that is mounted first, whatever is published during the run'
complete -c cvmfs-run -s v -l verbose -d 'Tell where library, helper, cache and log are'
complete -c cvmfs-run -l json -d 'With probe: print JSON'
complete -c cvmfs-run -l execute -d 'Replace this process by the program'
complete -c cvmfs-run -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cvmfs-run -s V -l version -d 'Print version'
