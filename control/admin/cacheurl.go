package admin

import (
	"errors"
	"fmt"
	"strings"

	"sluice/proxy/cache/store"
	"sluice/router"
)

// purgeURL brings a URL, or the beginning of one, into the form in which it stands in a key: host, path and "?" with the query, if there is
// one. The host is in lower case, the path as the gateway matches it.
//
// Clients may send a default port or leave it out, and a question mark without a query, and keys keep that: so these forms are returned,
// too. To purge what was not meant costs a request, not to purge what was meant shows old content.
func purgeURL(text string, prefix bool) (shown string, forms []string, err error) {
	if strings.ContainsFunc(text, isControl) || strings.ContainsAny(text, " \\#") {
		return "", nil, errors.New("a URL holds no space, backslash, number sign or control character")
	}
	rest, ports := text, []string{"", ":80", ":443"}
	if scheme, after, ok := strings.Cut(text, "://"); ok && !strings.ContainsAny(scheme, "/?") {
		rest = after
		switch strings.ToLower(scheme) {
		case "https":
			ports = []string{"", ":443"}
		case "http":
			ports = []string{"", ":80"}
		default:
			return "", nil, fmt.Errorf("the scheme %.20q is neither https nor http", scheme)
		}
	}
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	host, port, err := purgeHost(host)
	if err != nil {
		return "", nil, err
	}
	if path, err = purgePath(path, prefix); err != nil {
		return "", nil, err
	}
	if port != "" && !isOneOf(port, ports) {
		ports = []string{port}
	}
	for _, port := range ports {
		forms = append(forms, host+port+path)
		if !prefix && !strings.Contains(path, "?") {
			forms = append(forms, host+port+path+"?")
		}
	}
	if shown = forms[0]; len(shown) > store.KeyMax {
		return "", nil, fmt.Errorf("the URL has %d bytes, and nothing of more than %d is stored", len(shown), store.KeyMax)
	}
	return shown, forms, nil
}

func isOneOf(port string, ports []string) bool {
	for _, p := range ports {
		if p == port {
			return true
		}
	}
	return false
}

// purgeHost checks a host and takes the port off, which keeps its colon.
func purgeHost(text string) (host, port string, err error) {
	host = strings.ToLower(text)
	end := len(host)
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		end = i
	}
	host, port = host[:end], host[end:]
	inner, bracketed := strings.CutPrefix(host, "[")
	valid := "abcdefghijklmnopqrstuvwxyz0123456789-_."
	if bracketed {
		inner, bracketed = strings.CutSuffix(inner, "]")
		valid = "0123456789abcdef:."
		if !bracketed {
			inner = ""
		}
	}
	switch {
	case inner == "" || len(host) > 255 || strings.Trim(inner, valid) != "" || strings.ContainsFunc(inner, func(r rune) bool { return !strings.ContainsRune(valid, r) }):
		return "", "", fmt.Errorf("%.60q is no host: a URL is written https://host/path or host/path", text)
	case port != "" && (len(port) < 2 || len(port) > 6 || strings.Trim(port[1:], "0123456789") != ""):
		return "", "", fmt.Errorf("%.20q is no port", port)
	}
	return host, port, nil
}

// purgePath brings path and query into the form in which they are matched.
func purgePath(text string, prefix bool) (string, error) {
	path, query, queried := strings.Cut(text, "?")
	switch {
	case path == "" && prefix:
		// "shop.example" would be the beginning of "shop.example.org", too.
		return "", errors.New("a prefix holds the whole host and the slash behind it, such as shop.example/")
	case path == "":
		path = "/"
	}
	normal, err := router.NormalizePath(nil, []byte(path))
	if err != nil {
		return "", err
	}
	if prefix && !queried && strings.HasSuffix(string(normal), "/") && !strings.HasSuffix(path, "/") {
		return "", errors.New("the prefix ends in a dot segment, which stands for all of the folder above")
	}
	if path = string(normal); queried && (prefix || query != "") {
		path += "?" + query
	}
	return path, nil
}
