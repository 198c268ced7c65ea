// Package expression admits requests by a condition in CEL, the Common Expression Language (cel.dev): about the method, path, fields and
// query of a request, who its client is and what was proven about it.
//
// A Program is compiled and type-checked when a configuration is read, so that a name or a type that is wrong is an error then, and not a
// refusal later. CEL has no loops but over lists and maps that are there, and no side effects; what an expression may cost is bounded twice, by its
// size, and, if it has such loops, by a limit of cost. An evaluation that fails refuses the request.
//
// Read compile.go for what an expression may be, guard.go for the way of a request, variables.go for what an expression may ask, and maps.go
// for how it is looked up: nothing of a request is converted that an expression does not ask for.
package expression
