// What a Go program does with files, by its own system calls. Usage: walk ROOT PROGRAM
package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
)

func main() {
	root := os.Args[1]
	var paths []string
	filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			fmt.Println("walk:", err)
			return nil
		}
		paths = append(paths, path)
		return nil
	})
	lines := make([]string, len(paths))
	var wait sync.WaitGroup
	for i, path := range paths {
		wait.Add(1)
		go func(i int, path string) {
			defer wait.Done()
			info, err := os.Lstat(path)
			if err != nil {
				lines[i] = err.Error()
				return
			}
			lines[i] = fmt.Sprint(path, info.Mode(), info.ModTime().Unix())
			if info.Mode().IsRegular() {
				bytes, err := os.ReadFile(path)
				lines[i] += fmt.Sprintf(" %d %x %v", len(bytes), sha256.Sum256(bytes), err)
			} else if info.Mode()&fs.ModeSymlink != 0 {
				target, err := os.Readlink(path)
				real, _ := filepath.EvalSymlinks(path)
				lines[i] += fmt.Sprint(" ", target, err, real)
			}
		}(i, path)
	}
	wait.Wait()
	sort.Strings(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
	fmt.Println(os.Chdir(root))
	fmt.Println(os.Getwd())
	for i := 0; i < 20; i++ {
		out, err := exec.Command(os.Args[2]).Output()
		fmt.Print(string(out), err, "\n")
	}
	matches, _ := filepath.Glob("*/*")
	fmt.Println(matches)
}
