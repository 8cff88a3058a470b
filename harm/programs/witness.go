// A Go program that notices what an injection does to it: witness STATE_FILE.
//
// Lanes: computing on growing stacks, two thousand goroutines with known values on their small stacks,
// timers, and a pipe by way of the runtime's epoll.  SIGURG (preemption) and the collector run beside them.
package main

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const lanes = 5

var state []byte

func word(i int) *uint64 { return (*uint64)(unsafe.Pointer(&state[8*i])) }

func harmed(what string) {
	copy(state[8*66:], what)
	os.Exit(1)
}

func fill(a []uint64, seed uint64) {
	for i := range a {
		a[i] = seed ^ uint64(i)*0x9e3779b97f4a7c15
	}
}

func check(a []uint64, seed uint64, where string) {
	for i := range a {
		if a[i] != seed^uint64(i)*0x9e3779b97f4a7c15 {
			harmed(where)
		}
	}
}

//go:noinline
func deep(n int, seed uint64) uint64 {
	var a [24]uint64
	fill(a[:], seed)
	sum := seed
	if n > 0 {
		sum += deep(n-1, seed+1)
	}
	check(a[:], seed, "the stack of a goroutine")
	return sum
}

func sitter(wake, done chan uint64) {
	for seed := range wake {
		var a [100]uint64
		fill(a[:], seed)
		done <- seed
		seed2, ok := <-wake // parked with known values on a small stack
		check(a[:], seed, "the stack of a parked goroutine")
		if !ok || seed2 != seed+1 {
			harmed("a channel")
		}
		done <- seed2
	}
}

func lane(i int, round func(n uint64)) {
	go func() {
		for n := uint64(1); ; n++ {
			round(n)
			atomic.AddUint64(word(2+i), 1)
		}
	}()
}

func main() {
	file, err := os.OpenFile(os.Args[1], os.O_RDWR, 0)
	if err != nil {
		os.Exit(2)
	}
	state, err = syscall.Mmap(int(file.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		os.Exit(2)
	}
	file.Close()
	runtime.GOMAXPROCS(2)
	lane(0, func(n uint64) {
		if deep(int(n%40), n) != func() (s uint64) {
			for i := uint64(0); i <= n%40; i++ {
				s += n + i
			}
			return
		}() {
			harmed("a sum over the stack")
		}
		time.Sleep(time.Duration(n%3) * 100 * time.Microsecond)
	})
	wake, done := make([]chan uint64, 2000), make(chan uint64, 2000)
	for i := range wake {
		wake[i] = make(chan uint64, 1)
		go sitter(wake[i], done)
	}
	lane(1, func(n uint64) {
		for turn := uint64(0); turn < 2; turn++ {
			for _, c := range wake {
				c <- 2*n + turn
			}
			for range wake {
				if <-done != 2*n+turn {
					harmed("an answer on a channel")
				}
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	lane(2, func(n uint64) {
		begin := time.Now()
		time.Sleep(time.Millisecond)
		if time.Since(begin) < time.Millisecond {
			harmed("a timer was early")
		}
	})
	r, w, err := os.Pipe()
	if err != nil {
		os.Exit(2)
	}
	go func() {
		var b [8]byte
		for n := uint64(1); ; n++ {
			binary.LittleEndian.PutUint64(b[:], n)
			if _, err := w.Write(b[:]); err != nil {
				harmed("write: " + err.Error())
			}
			time.Sleep(time.Millisecond)
		}
	}()
	lane(3, func(n uint64) {
		var b [8]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			harmed("read: " + err.Error())
		}
		if binary.LittleEndian.Uint64(b[:]) != n {
			harmed("what a pipe brought")
		}
	})
	data := make([]byte, 1<<16)
	for i := range data {
		data[i] = byte(i * 7)
	}
	expected := crc32.ChecksumIEEE(data) // uses vector instructions
	heap := make([][]uint64, 256)
	lane(4, func(n uint64) {
		if crc32.ChecksumIEEE(data) != expected {
			harmed("a checksum")
		}
		i := int(n) % len(heap)
		if heap[i] != nil {
			check(heap[i][1:], heap[i][0], "the heap")
		}
		heap[i] = make([]uint64, 257)
		heap[i][0] = n
		fill(heap[i][1:], n)
		time.Sleep(200 * time.Microsecond)
	})
	*word(1) = lanes
	for atomic.LoadUint64(word(0)) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
}
