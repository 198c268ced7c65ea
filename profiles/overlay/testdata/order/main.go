// Order prints in which order goroutines run whose connections became ready one after the other.
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const connections = 32

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	runtime.GOMAXPROCS(1)
	var order []int // by one goroutine at a time: there is one processor, and nothing below waits between read and append
	var peers []int
	var done sync.WaitGroup
	for i := range connections {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		peers = append(peers, fds[1])
		f := os.NewFile(uintptr(fds[0]), "pair")
		c, err := net.FileConn(f)
		if err != nil {
			return err
		}
		defer c.Close()
		f.Close()
		done.Go(func() {
			var b [1]byte
			if _, err := c.Read(b[:]); err == nil {
				order = append(order, i)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // all wait
	for _, fd := range peers {
		if _, err := syscall.Write(fd, []byte{1}); err != nil {
			return err
		}
	}
	done.Wait()
	fmt.Println(order)
	return nil
}
