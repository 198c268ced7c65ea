//go:build !race && !invariants

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// storms is a process of attackers that attack one gateway after the other. It runs with the lowest priority: attackers are other
// people's machines, and whatever they take of this one's processors would look like harm that the gateway does to its clients.
type storms struct {
	t    *testing.T
	to   io.WriteCloser
	said *bufio.Scanner
}

// stormVariable names the attack to a process that is to be storms.
const stormVariable = "SLUICE_TEST_STORM"

func init() {
	if name := os.Getenv(stormVariable); name != "" {
		if err := beStorms(name, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

func startStorms(t *testing.T, a *attack) *storms {
	t.Helper()
	cmd := exec.Command("nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), stormVariable+"="+a.name, "GOMAXPROCS=2")
	cmd.Stderr = os.Stderr
	to, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = to.Close() // upon which it ends
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the attackers: %v", err)
		}
	})
	return &storms{t: t, to: to, said: bufio.NewScanner(out)}
}

// against makes all attackers attack f from now on, nobody if it is nil, and returns how often they have attacked whom they attacked
// before. taken are those attacks that were not turned away at the door.
func (s *storms) against(f *attacked) (attacks, taken int) {
	s.t.Helper()
	if f == nil {
		return s.say("nobody")
	}
	return s.say(f.web + " " + f.secure)
}

// await waits until there were enough attacks to speak of one.
func (s *storms) await() {
	s.t.Helper()
	eventually(s.t, "an attack", func() bool {
		_, taken := s.say("how often")
		return taken >= stormers
	})
}

func (s *storms) say(what string) (attacks, taken int) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.to, what); err != nil {
		s.t.Fatalf("the attackers have gone: %v", err)
	}
	if !s.said.Scan() {
		s.t.Fatalf("the attackers have gone: %v", s.said.Err())
	}
	if _, err := fmt.Sscan(s.said.Text(), &attacks, &taken); err != nil {
		s.t.Fatalf("the attackers say %q: %v", s.said.Text(), err)
	}
	return attacks, taken
}

// beStorms attacks whom the lines of in name, and answers each with the number of attacks before.
func beStorms(name string, in io.Reader, out io.Writer) error {
	a := attackNamed(name)
	if a == nil {
		return fmt.Errorf("there is no attack %q", name)
	}
	var (
		attackers      sync.WaitGroup
		stop           atomic.Bool
		attacks, taken atomic.Int64
		address        atomic.Uint32
		failed         = make(chan error, stormers)
	)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if lines.Text() == "how often" {
			if _, err := fmt.Fprintln(out, attacks.Load(), taken.Load()); err != nil {
				return err
			}
			continue
		}
		stop.Store(true)
		attackers.Wait()
		if _, err := fmt.Fprintln(out, attacks.Swap(0), taken.Swap(0)); err != nil {
			return err
		}
		stop.Store(false)
		web, secure, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			continue // nobody
		}
		f := &attacked{web: web, secure: secure}
		for i := range stormers {
			attackers.Go(func() {
				for !stop.Load() {
					from := holder(i) // some come back
					if i >= stormers/2 {
						n := address.Add(1) // and some have a network of robots
						from = net.IPv4(127, byte(16+n>>16%100), byte(n>>8), byte(n))
					}
					ok, err := a.storm(f, i, from)
					if err != nil {
						failed <- err
						return
					}
					attacks.Add(1)
					if ok {
						taken.Add(1)
					}
				}
			})
		}
	}
	stop.Store(true)
	attackers.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return lines.Err()
	}
}

// stormCPUMax bounds how much processor time an attack costs, from accept to close.
const stormCPUMax = 40 * time.Millisecond

// runStorm attacks a gateway, and another one of which the honest clients know nothing, in turn. Both times they share the host with the
// attackers and with the gateway that is attacked. What they wait longer when it is theirs is what one connection of a gateway does to
// the others.
func (a *attack) runStorm(t *testing.T, size *size) {
	mine, other := startAttacked(t, size.limits(a)), startAttacked(t, size.limits(a))
	h := newHonest(mine)
	defer h.stop()
	s := startStorms(t, a)
	h.phase(size.phase) // everything is warm by then
	stop := mine.watchMemory()
	var without, with []*phase
	spent, spentOn := -other.cpu(), 0
	for round := 1; ; round++ { // more of them than size wants, where these do not say that all is well: the median of all counts
		s.against(other)
		s.await()
		without = append(without, h.phase(size.phase))
		_, taken := s.against(mine)
		spentOn += taken
		s.await()
		with = append(with, h.phase(size.phase))
		attacks, taken := s.against(nil)
		t.Logf("%d attacks, %d of them turned away", attacks, attacks-taken)
		if last := round == size.rounds*looksMax; round >= size.rounds && size.compare(t, without, with, last) || last {
			break
		}
	}
	spent += other.cpu()
	memory, peak := stop()
	mine.checkMemory(memory, peak, 0)
	spent /= time.Duration(spentOn)
	t.Logf("a gateway takes %v of processor time for each attack", spent.Round(time.Microsecond))
	if spent > stormCPUMax {
		t.Errorf("which is more than %v", stormCPUMax)
	}
	if mine.metric("sluice_connections_calmed_total") == 0 {
		t.Error("no attacker was told to calm down")
	}
	mine.checkPanics()
}

// cpu is how much processor time the gateway has used.
func (f *attacked) cpu() time.Duration {
	f.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", f.process.cmd.Process.Pid))
	if err != nil {
		f.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name may contain blanks
	fields := strings.Fields(after)
	var ticks int
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			f.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 wherever Go runs
}
