package main
import ("fmt"; "example.org/walk/lib"; "os"; "path/filepath"; "net/http")
func main() { n := 0; filepath.Walk(os.Args[1], func(p string, i os.FileInfo, e error) error { n++; return e }); fmt.Print(n, " ", lib.Text, http.StatusText(200), "\n") }
