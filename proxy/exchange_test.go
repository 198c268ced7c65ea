package proxy

import (
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/proxy/wire"
)

const patience = 10 * time.Second

// TestCancelKicks lets Cancel, Done and a connection that comes and goes meet: a connection that was handed over in time
// is always kicked, one that was taken back never is.
func TestCancelKicks(t *testing.T) {
	for range 300 {
		x := new(Exchange)
		near, far := net.Pipe()
		c := wire.NewConn(near, nil)
		begin := make(chan struct{})
		var wg sync.WaitGroup
		accepted := false
		wg.Go(func() {
			<-begin
			accepted = x.CancelKicks(c)
		})
		for range 2 {
			wg.Go(func() {
				<-begin
				x.Cancel(ErrClientGone)
			})
		}
		wg.Go(func() {
			<-begin
			select {
			case <-x.Done():
			case <-time.After(patience):
				t.Error("Done is not closed")
			}
		})
		close(begin)
		wg.Wait()
		if kicked := c.Kicked() == wire.Canceled; kicked != accepted || x.Canceled() != ErrClientGone {
			t.Fatalf("accepted %v, kicked %v", accepted, kicked)
		}
		if accepted {
			if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Fatal(err)
			}
		}
		// Afterwards: refused, but taking the connection back always works.
		if x.CancelKicks(wire.NewConn(far, nil)) || !x.CancelKicks(nil) {
			t.Fatal("a canceled exchange takes a connection")
		}
		near.Close()
		far.Close()
	}
}

func TestCancelKicksNot(t *testing.T) {
	x := new(Exchange)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := wire.NewConn(near, nil)
	if !x.CancelKicks(c) || !x.CancelKicks(nil) {
		t.Fatal("refused")
	}
	select {
	case <-x.Done():
		t.Fatal("done already")
	default:
	}
	x.Cancel(ErrClientGone)
	if c.Kicked() != 0 {
		t.Fatal("a connection that was taken back was kicked")
	}
	select {
	case <-x.Done():
	default:
		t.Fatal("not done")
	}
}

type finisherFunc func(x *Exchange)

func (f finisherFunc) Finish(x *Exchange)   { f(x) }
func (f finisherFunc) EditHead(x *Exchange) { f(x) }

func TestFinishersAndEditors(t *testing.T) {
	x := Acquire()
	var order []string
	note := func(s string) finisherFunc { return func(*Exchange) { order = append(order, s) } }
	x.OnHead(note("head 1"))
	x.OnFinish(note("finish 1"))
	x.OnHead(note("head 2"))
	x.OnFinish(note("finish 2"))
	x.EditHead()
	x.Finish()
	x.Release()
	if want := []string{"head 1", "head 2", "finish 2", "finish 1"}; !slices.Equal(order, want) {
		t.Fatalf("%q", order)
	}
	x = Acquire()
	x.EditHead()
	x.Finish()
	x.Release()
	if len(order) != 4 {
		t.Fatal("an exchange inherited finishers")
	}
}

// TestRelease leaves nothing of one exchange to the next: every field is as new, whatever it was set to.
func TestRelease(t *testing.T) {
	x := new(Exchange)
	fill(reflect.ValueOf(x).Elem())
	x.Request.Head.AddString("Authorization", "secret")
	x.Response.Head.AddString("Set-Cookie", "secret")
	x.Request.Body.SetWhole([]byte("secret"))
	x.Response.Body.SetFlow([]byte("secret"), flowing("x"), -1)
	x.Request.Trailers.AddString("X", "secret")
	x.Hold(wire.GetBuf(1))
	x.OnFinish(finisherFunc(func(*Exchange) {}))
	x.Done()
	x.Cancel(ErrClientGone)
	x.Release()
	// Lengths of memory that is kept do not matter, what lies in it does not either: Release says so.
	for _, h := range []*wire.Head{&x.Request.Head, &x.Response.Head, &x.Request.Trailers, &x.Response.Trailers} {
		if h.Len() != 0 || h.Has("Authorization") || h.Has("X") {
			t.Fatal("fields are left")
		}
	}
	for i := range reflect.TypeFor[Exchange]().NumField() {
		f := reflect.TypeFor[Exchange]().Field(i)
		v := reflect.ValueOf(x).Elem().Field(i)
		switch f.Name {
		case "Request", "Response":
			for j := range v.NumField() {
				if name := v.Type().Field(j).Name; name != "Head" && name != "Trailers" && !v.Field(j).IsZero() {
					t.Errorf("%s.%s is left", f.Name, name)
				}
			}
		case "finishers", "editors", "scratch":
			if v.Len() != 0 {
				t.Errorf("%s is left", f.Name)
			}
		case "Match", "background":
			// Match is overwritten by the lookup that every exchange begins with.
		default:
			if !v.IsZero() {
				t.Errorf("%s is left", f.Name)
			}
		}
	}
}

// fill sets every exported plain field to something.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		if !f.CanSet() {
			continue
		}
		switch f.Kind() {
		case reflect.Struct:
			if f.Type() != reflect.TypeFor[wire.Head]() && f.Type() != reflect.TypeFor[Body]() {
				fill(f)
			}
		case reflect.String:
			f.SetString("secret")
		case reflect.Slice:
			if f.Type() == reflect.TypeFor[[]byte]() {
				f.SetBytes([]byte("secret"))
			}
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int64:
			f.SetInt(7)
		case reflect.Uint32:
			f.SetUint(7)
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Interface:
			if f.Type() == reflect.TypeFor[error]() {
				f.Set(reflect.ValueOf(errors.New("secret")))
			}
		}
	}
}

func TestHoldTooMany(t *testing.T) {
	x := Acquire()
	x.Hold(nil)
	for range len(x.held) {
		x.Hold(wire.GetBuf(1))
	}
	defer func() {
		if recover() == nil {
			t.Error("a buffer was lost")
		}
		x.Release()
	}()
	x.Hold(wire.GetBuf(1))
}

// TestGo waits for every goroutine of an exchange, and survives one that panics.
func TestGo(t *testing.T) {
	x := Acquire()
	defer x.Release()
	before := Panics.Load()
	var mu sync.Mutex
	done := 0
	for i := range 20 {
		x.Go(func() {
			if i == 7 {
				panic("of the test")
			}
			mu.Lock()
			done++
			mu.Unlock()
		})
	}
	x.Wait()
	if done != 19 || Panics.Load() != before+1 {
		t.Fatalf("%d done, %d panics", done, Panics.Load()-before)
	}
}
