package redis_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/proxy/limit"
	"sluice/proxy/limit/redis"
	"sluice/proxy/limit/redis/redistest"
)

// TestRights: a user with the rights that README lists, and no others, is all that it takes, and nothing is refused on the way.
func TestRights(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rights, _ := strings.Cut(string(readme), " of the ACL, with rights to ")
	rights, _, found := strings.Cut(rights, " on the prefix")
	if !found {
		t.Fatal("README does not list the rights")
	}
	f := func(database int, more ...string) {
		t.Helper()
		server := redistest.Start(t)
		user := []string{"ACL", "SETUSER", "sluice", "on", ">secret", "~test*", "-@all"}
		for _, right := range append(strings.Fields(strings.NewReplacer(",", "", " and ", " ").Replace(rights)), more...) {
			user = append(user, "+"+strings.ToLower(right))
		}
		if got := server.Command(t, user...); got[0] != "OK" {
			t.Fatal(got)
		}
		store := redis.New(redis.Options{Network: "unix", Address: server.Socket(), Database: database, User: "sluice", Password: "secret", Prefix: "test", Timeout: patience})
		defer store.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for range 2 { // the script is known from the second time on
			entries := []limit.Entry{{Policy: "p", Key: 1, Burst: int64(time.Minute), Take: int64(time.Second)}}
			if err := store.Settle(ctx, entries); err != nil || entries[0].Full == 0 {
				t.Errorf("it is full in %d, %v", entries[0].Full, err)
			}
		}
		if known, err := store.Reset(ctx, limit.Entry{Policy: "p", Key: 1, Burst: int64(time.Minute)}); !known || err != nil {
			t.Errorf("reset: %v, %v", known, err)
		}
		if refused := server.Command(t, "ACL", "LOG"); len(refused) > 0 {
			t.Errorf("refused is %q", refused)
		}
	}
	f(0)
	f(1, "SELECT")
}
