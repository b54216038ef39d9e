// The questions of the twin program, as Go asks: by system calls of its own, from several threads, without a C library.
// Usage: twin SCRATCH. Each probe prints one line, `label => result`.
package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
)

const root = "/cvmfs/twin.test.example"

var names = []string{
	"", "/", "/README", "/README/", "/README/.", "/README/x", "/empty", "/big", "/secret", "/bin", "/bin/", "/bin/..", "/bin/../README",
	"/bin/absent", "/absent", "/absent/", "/link", "/link/", "/dirlink", "/dirlink/", "/dirlink/sub/leaf", "/abslink", "/outlink",
	"/dangling", "/loop1", "/loop1/x", "/hard1", "/hard2", "/fifo", "/xattr", "/nested", "/nested/inner", "/nested/inner/file",
	"/locked", "/locked/file", "/name with blanks\n", "/\xff\xfe", "/many", "/many/file0007", "/../twin.test.example/README",
	"/dir/sub/../../README", "//README", "/./README", "/chain40", "/chain41",
}

func say(label string, format string, values ...any) {
	fmt.Printf("%s => %s\n", strings.ReplaceAll(fmt.Sprintf("%q", label), " => ", " "), fmt.Sprintf(format, values...))
}

func said(label string, err error) {
	var number syscall.Errno
	switch {
	case err == nil:
		say(label, "done")
	case errors.As(err, &number):
		say(label, "error %d", int(number))
	default:
		say(label, "%v", err)
	}
}

func facts(info fs.FileInfo) string {
	st := info.Sys().(*syscall.Stat_t)
	size, links := st.Size, uint64(st.Nlink)
	if info.IsDir() {
		size, links = -1, 0
	}
	return fmt.Sprintf("%o %d:%d %d links %d @%d.%09d", st.Mode, st.Uid, st.Gid, size, links, st.Mtim.Sec, st.Mtim.Nsec)
}

func stated(label string, info fs.FileInfo, err error) {
	if err != nil {
		said(label, err)
		return
	}
	say(label, "%s", facts(info))
}

// answer is what a call says of a path. A kernel that begins a path anew, as when something is mounted meanwhile, goes on
// counting links: where it says that there are too many it is asked again.
func answer[T any](call func(path string) (T, error), path string) (T, error) {
	for left := 50; ; left-- {
		value, err := call(path)
		if left == 0 || !errors.Is(err, syscall.ELOOP) {
			return value, err
		}
	}
}

func access(mode uint32) func(path string) (bool, error) {
	return func(path string) (bool, error) {
		err := syscall.Access(path, mode)
		return err == nil, err
	}
}

func everyName() {
	for _, name := range names {
		path := root + name
		info, err := answer(os.Stat, path)
		stated("stat "+name, info, err)
		info, err = os.Lstat(path)
		stated("lstat "+name, info, err)
		target, err := os.Readlink(path)
		if err == nil {
			say("readlink "+name, "%q", target)
		} else {
			said("readlink "+name, err)
		}
		_, err = answer(access(4), path)
		said("access "+name, err)
		_, err = answer(access(2), path)
		said("access to write "+name, err)
		if name != "/fifo" {
			file, err := answer(os.Open, path)
			said("open "+name, err)
			if err == nil {
				info, err = file.Stat()
				stated("fstat "+name, info, err)
				hash := sha256.New()
				if !info.IsDir() {
					length, err := io.Copy(hash, file)
					say("read "+name, "%d %x %v", length, hash.Sum(nil), err)
				}
				file.Close()
			}
		}
		value := make([]byte, 200)
		length, err := answer(func(path string) (int, error) { return syscall.Getxattr(path, "user.one", value) }, path)
		if err == nil {
			say("getxattr "+name, "%q", value[:length])
		} else {
			said("getxattr "+name, err)
		}
	}
}

func directories() {
	for _, name := range []string{"/", "/bin", "/many", "/nested", "/nested/inner", "/dirlink", "/locked", "/README", "/absent"} {
		entries, err := os.ReadDir(root + name)
		said("readdir "+name, err)
		var list []string
		for _, entry := range entries {
			list = append(list, fmt.Sprintf("%q %v", entry.Name(), entry.Type()))
		}
		sort.Strings(list)
		for _, line := range list {
			say("entry of "+name, "%s", line)
		}
	}
	count := map[fs.FileMode]int{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			info, err := entry.Info()
			if err == nil {
				count[info.Mode().Type()]++
			}
		}
		return nil
	})
	said("walk", err)
	say("walk found", "%v", count)
	found, err := filepath.Glob(root + "/many/file000[1-5]")
	say("glob", "%v %v", found, err)
}

func working() {
	for _, name := range []string{"/bin", "/dirlink", "/nested/inner", "/absent", "/README"} {
		said("chdir "+name, os.Chdir(root+name))
		where, err := syscall.Getwd()
		say("where "+name, "%q %v", where, err)
		_, err = os.Stat("../README")
		said("stat ../README in "+name, err)
	}
	said("chdir back", os.Chdir("/"))
	directory, err := os.Open(root + "/nested")
	said("open directory", err)
	if err == nil {
		said("fchdir", directory.Chdir())
		where, err := syscall.Getwd()
		say("where", "%q %v", where, err)
		_, err = os.Stat("inner/file")
		said("stat below", err)
		directory.Close()
	}
	said("chdir back", os.Chdir("/"))
}

func changes(scratch string) {
	for _, name := range []string{"/README", "/absent", "/bin", "/absent/x", "/README/x", "/dangling"} {
		path := root + name
		_, err := os.Create(path)
		said("create "+name, err)
		said("mkdir "+name, os.Mkdir(path, 0o755))
		said("remove "+name, os.Remove(path))
		said("rename "+name, os.Rename(path, path+".new"))
		said("rename away "+name, os.Rename(path, scratch+"/new"))
		said("chmod "+name, os.Chmod(path, 0o777))
		said("chown "+name, os.Chown(path, 1, 1))
		said("truncate "+name, os.Truncate(path, 0))
		said("symlink "+name, os.Symlink("x", path))
		said("link "+name, os.Link(path, root+"/other"))
		_, err = os.OpenFile(path, os.O_RDWR, 0)
		said("open to write "+name, err)
		_, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		said("open exclusively "+name, err)
		said("setxattr "+name, syscall.Setxattr(path, "user.new", []byte("1"), 0))
	}
	said("copy out", copyFile(root+"/big", scratch+"/big"))
	info, err := os.Stat(scratch + "/big")
	if err == nil {
		say("size of the copy", "%d", info.Size())
	}
	said("link out", os.Symlink(root+"/README", scratch+"/link"))
	content, err := os.ReadFile(scratch + "/link")
	say("read over a link", "%d %v", len(content), err)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	return err
}

func mapped() {
	file, err := os.Open(root + "/big")
	said("open big", err)
	if err != nil {
		return
	}
	defer file.Close()
	info, _ := file.Stat()
	bytes, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	said("mmap", err)
	if err == nil {
		say("mapped", "%x", sha256.Sum256(bytes))
		syscall.Munmap(bytes)
	}
	part := make([]byte, 100)
	length, err := file.ReadAt(part, 1000)
	say("read at", "%d %x %v", length, sha256.Sum256(part), err)
	said("flock", syscall.Flock(int(file.Fd()), syscall.LOCK_SH))
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	say("name of the descriptor", "%q %v", name, err)
}

// Many goroutines, which are many threads as soon as calls take long.
func together() {
	var waiting sync.WaitGroup
	wrong := make(chan string, 1000)
	for worker := 0; worker < 16; worker++ {
		waiting.Add(1)
		go func(worker int) {
			defer waiting.Done()
			for round := 0; round < 50; round++ {
				name := fmt.Sprintf("%s/many/file%04d", root, (worker*50+round)%300)
				if _, err := os.ReadFile(name); err != nil {
					wrong <- err.Error()
				}
				if _, err := os.Stat(name + ".absent"); !errors.Is(err, fs.ErrNotExist) {
					wrong <- fmt.Sprint(err)
				}
			}
		}(worker)
	}
	waiting.Wait()
	close(wrong)
	count := 0
	for range wrong {
		count++
	}
	say("many at once", "%d wrong", count)
}

func programs() {
	for _, name := range []string{"/bin/hello", "/bin/hello-static", "/bin/script", "/bin/cscript", "/bin/chain", "/bin/noread", "/bin/plain", "/locked/hello", "/absent", "/README", "/bin", "/link"} {
		said("run "+name, exec.Command(root+name).Run())
	}
	command := exec.Command("/bin/pwd", "-P")
	command.Dir = root + "/bin"
	out, err := command.CombinedOutput()
	say("pwd", "%q %v", out, err)
	out, err = exec.Command("/bin/sh", "-c", "cd "+root+"/nested && ls && cat ../README | wc -c").CombinedOutput()
	say("shell", "%q %v", out, err)
}

func main() {
	everyName()
	directories()
	working()
	changes(os.Args[1])
	mapped()
	together()
	programs()
	fmt.Println("== end")
}
