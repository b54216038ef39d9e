module example.org/walk
go 1.19
