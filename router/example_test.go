package router_test

import (
	"fmt"

	"sluice/router"
)

func Example() {
	var routes []router.Route[string]
	add := func(name, pattern, service string) {
		p, err := router.ParsePattern(pattern)
		if err != nil {
			panic(err)
		}
		routes = append(routes, router.Route[string]{Name: name, Pattern: p, Value: service})
	}
	add("everything", "/**", "site")
	add("item", "GET /items/{id}", "catalogue")
	add("new-item", "POST /items", "warehouse")
	add("orders", "api.shop.example/orders/**", "orders")

	table, problems := router.New(routes)
	for _, p := range problems {
		fmt.Println(p.Kind, p.Message)
	}

	id, _ := routes[1].Pattern.Param("id") // resolved once, at configuration time
	path := []byte("/items/42")
	var m router.Match
	service, outcome := table.Lookup(&router.Request{
		Method: []byte("GET"),
		Host:   []byte("www.shop.example"),
		Path:   path,
	}, &m)
	fmt.Println(outcome, service, routes[m.Index].Name, string(m.Value(path, id)))
	// Output: found catalogue item 42
}
