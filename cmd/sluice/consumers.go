package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"sluice/control/config"
)

type consumersCommand struct {
	List   listConsumersCommand  `cmd:"" help:"List the consumers, stored ones and those of the configuration."`
	Put    putConsumerCommand    `cmd:"" help:"Make a stored consumer, or replace what is said of one; its keys stay."`
	Remove removeConsumerCommand `cmd:"" help:"Remove a stored consumer with its keys and passwords."`
	Key    newStoredKeyCommand   `cmd:"" help:"Make a key for a stored consumer, and print it."`
	Rotate rotateKeyCommand      `cmd:"" help:"Make a key in the place of another, which stays good for a while."`
	Revoke revokeKeyCommand      `cmd:"" help:"End a key of a stored consumer at once."`
}

func (consumersCommand) Help() string {
	return example("They are those of a group with stored: true, and the admin listener of a running gateway edits them: what it says it has done is on the disk, "+
		"and counts for the next request. A key is printed once, and kept nowhere.",
		"sluice consumers put partners/acme --plan gold --scope orders.read\nsluice consumers key partners/acme >key\nsluice consumers list")
}

// reach is how a running gateway is reached.
type reach struct {
	Admin     string `default:"http://127.0.0.1:9180" placeholder:"ADDR" help:"The admin address of the gateway: host:port, http(s)://host:port or unix:/path (${default})."`
	TokenFile string `placeholder:"FILE" help:"The file that holds the admin token, - for the standard input; without it, the variable SLUICE_ADMIN_TOKEN counts."`
}

// do sends a request about consumers, and reads the answer into v.
func (r reach) do(t *terminal, method, path string, body, v any) error {
	client, err := reachAdmin(t, r.Admin, r.TokenFile)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := client.sendJSON(ctx, method, "/v1/consumers"+path, body, v); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	return nil
}

// consumerName is a group and a name.
type consumerName struct {
	Name string `arg:"" name:"group/name" help:"The group and the name of the consumer."`
}

func (n consumerName) path() (string, error) {
	group, name, ok := strings.Cut(n.Name, "/")
	if !ok || group == "" || name == "" || strings.Contains(name, "/") {
		return "", fmt.Errorf("%q is no consumer: write GROUP/NAME", printable(n.Name))
	}
	return "/" + url.PathEscape(group) + "/" + url.PathEscape(name), nil
}

// shownConsumer is what is read of an answer.
type shownConsumer struct {
	Group  string   `json:"group"`
	Name   string   `json:"name"`
	Plan   string   `json:"plan"`
	Stored bool     `json:"stored"`
	Scopes []string `json:"scopes"`
	Keys   []struct {
		ID       string    `json:"id"`
		Prefix   string    `json:"prefix"`
		Expires  time.Time `json:"expires"`
		LastUsed time.Time `json:"last_used"`
	} `json:"keys"`
	Passwords []struct {
		ID string `json:"id"`
	} `json:"passwords"`
}

type listConsumersCommand struct {
	reach
}

func (c *listConsumersCommand) Run(t *terminal) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CONSUMER\tPLAN\tSCOPES\tKEY\tID\tEXPIRES\tLAST USED") // to memory: it never fails
	for after := ""; ; {
		var page struct {
			Consumers []shownConsumer `json:"consumers"`
			Next      string          `json:"next"`
			Missing   string          `json:"missing"`
		}
		if err := c.do(t, http.MethodGet, "?limit=1000&after="+url.QueryEscape(after), nil, &page); err != nil {
			return err
		}
		for i := range page.Consumers {
			page.Consumers[i].write(table)
		}
		if page.Missing != "" {
			t.note(printable(page.Missing))
		}
		if page.Next == "" || page.Next == after {
			break
		}
		after = page.Next
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	return t.write(text.String())
}

// write writes a line for each key, or one for a consumer without any.
func (s *shownConsumer) write(table *tabwriter.Writer) {
	line := func(prefix, id string, expires, used time.Time) {
		day := func(at time.Time) string {
			if at.IsZero() {
				return "-"
			}
			return at.UTC().Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s/%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(s.Group), printable(s.Name), orDash(s.Plan), orDash(strings.Join(s.Scopes, " ")),
			orDash(prefix), orDash(id), day(expires), day(used))
	}
	for _, k := range s.Keys {
		line(k.Prefix, k.ID, k.Expires, k.LastUsed)
	}
	if len(s.Keys) == 0 {
		line("", "", time.Time{}, time.Time{})
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

type putConsumerCommand struct {
	consumerName
	Plan  string            `placeholder:"TEXT" help:"The plan that it is on."`
	Scope []string          `placeholder:"WORD" help:"What it may do; several times for several."`
	Label map[string]string `placeholder:"NAME=TEXT" help:"Anything else that services are to know; several times for several."`
	reach
}

func (c *putConsumerCommand) Run(t *terminal) error {
	path, err := c.path()
	if err != nil {
		return err
	}
	body := map[string]any{"plan": c.Plan}
	if len(c.Scope) > 0 {
		body["scopes"] = c.Scope
	}
	if len(c.Label) > 0 {
		body["labels"] = c.Label
	}
	return c.do(t, http.MethodPut, path, body, nil)
}

type removeConsumerCommand struct {
	consumerName
	reach
}

func (c *removeConsumerCommand) Run(t *terminal) error {
	path, err := c.path()
	if err != nil {
		return err
	}
	return c.do(t, http.MethodDelete, path, nil, nil)
}

type newStoredKeyCommand struct {
	consumerName
	Prefix  string   `placeholder:"TEXT" help:"What the key begins with, to tell keys apart; sk_ and the consumer's name by default."`
	Scope   []string `placeholder:"WORD" help:"In the place of the consumer's scopes; several times for several."`
	Expires ending   `placeholder:"TIME" help:"When it ends: on a day such as 2027-01-31, at a time such as 2027-01-31T12:00:00Z, or from now on, such as 720h; never by default."`
	reach
}

func (c *newStoredKeyCommand) Run(t *terminal) error {
	body := expiring(c.Expires)
	if c.Prefix != "" {
		body["prefix"] = c.Prefix
	}
	if len(c.Scope) > 0 {
		body["scopes"] = c.Scope
	}
	return printKey(t, c.reach, c.consumerName, "/keys", body)
}

// keyID is one of a consumer's keys.
type keyID struct {
	ID string `arg:"" help:"The id of the key, which sluice consumers list shows."`
}

type rotateKeyCommand struct {
	consumerName
	keyID
	Overlap time.Duration `default:"24h" placeholder:"TIME" help:"How long the old key is still good (${default})."`
	Expires ending        `placeholder:"TIME" help:"When the new one ends, as for a key; never by default."`
	reach
}

func (c *rotateKeyCommand) Run(t *terminal) error {
	body := expiring(c.Expires)
	body["overlap"] = c.Overlap.String()
	return printKey(t, c.reach, c.consumerName, "/keys/"+url.PathEscape(c.ID)+"/rotate", body)
}

type revokeKeyCommand struct {
	consumerName
	keyID
	reach
}

func (c *revokeKeyCommand) Run(t *terminal) error {
	path, err := c.path()
	if err != nil {
		return err
	}
	return c.do(t, http.MethodDelete, path+"/keys/"+url.PathEscape(c.ID), nil, nil)
}

// ending is when a key ends: a day or a time, as everywhere, or a time from now on.
type ending struct{ text string }

// UnmarshalText reads it.
func (e *ending) UnmarshalText(b []byte) error {
	e.text = string(b)
	if in, err := time.ParseDuration(e.text); err == nil {
		e.text = time.Now().Add(in).UTC().Format(time.RFC3339)
		return nil
	}
	if _, ok := config.ParseExpiry(e.text); !ok {
		return fmt.Errorf("%q is neither a day, such as 2027-01-31, nor a time, such as 2027-01-31T12:00:00Z or 720h", printable(e.text))
	}
	return nil
}

func expiring(e ending) map[string]any {
	body := map[string]any{}
	if e.text != "" {
		body["expires"] = e.text
	}
	return body
}

// printKey has a key made, and prints it alone, so that it can be sent into a file; what there is to know of it is for people.
func printKey(t *terminal, r reach, n consumerName, path string, body map[string]any) error {
	at, err := n.path()
	if err != nil {
		return err
	}
	var made struct{ ID, Key string }
	if err := r.do(t, http.MethodPost, at+path, body, &made); err != nil {
		return err
	}
	t.note("The key " + printable(made.ID) + " is shown only here:")
	return t.write(printable(made.Key) + "\n")
}
