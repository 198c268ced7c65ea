package expression

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Bounds of expressions, and of what one evaluation may cost.
const (
	textMax    = 4 << 10
	nodesMax   = 500
	depthMax   = 32
	regexMax   = 1000  // instructions
	networkMax = 100   // of one list
	costMax    = 20000 // in CEL's units, of an expression with loops: a few milliseconds
)

// Program is an expression that was compiled. Immutable; safe for concurrent use.
type Program struct {
	text    string
	program cel.Program
	names   []string // of the variables that it asks for
	params  []string // of the path that it asks for
	loops   bool
}

// Uses reports whether the expression asks for a variable, or for one of a family that ends in a dot.
func (p *Program) Uses(name string) bool {
	return slices.ContainsFunc(p.names, func(used string) bool {
		return used == name || strings.HasSuffix(name, ".") && strings.HasPrefix(used, name)
	})
}

// Params are the parameters of the path that the expression names.
func (p *Program) Params() []string { return p.params }

// environment declares the variables, once: it takes a millisecond, and nobody who has no expression needs it.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(textMax), cel.ParserRecursionLimit(depthMax), cel.ParserErrorRecoveryLimit(4),
		cel.ExpressionNodeLimit(nodesMax), cel.ExpressionNestingDepthLimit(depthMax), cel.RegexProgramSizeLimit(regexMax),
		cel.DefaultUTCTimeZone(true), cel.CrossTypeNumericComparisons(true),
		cel.Function(inNetworkName,
			cel.Overload("in_network", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, cel.BinaryBinding(inNetwork)),
			cel.Overload("in_networks", []*cel.Type{cel.StringType, cel.ListType(cel.StringType)}, cel.BoolType, cel.BinaryBinding(inNetwork))),
	}
	for _, v := range variables {
		options = append(options, cel.Variable(v.name, v.kind))
	}
	return cel.NewEnv(options...)
})

// Compile parses and checks an expression. An error is for whoever has written it.
func Compile(text string) (p *Program, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			p, err = nil, fmt.Errorf("the expression cannot be compiled: %v", caught)
		}
	}()
	if len(text) > textMax {
		return nil, fmt.Errorf("the expression has %d bytes, more than %d", len(text), textMax)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, said(issues)
	}
	if out := checked.OutputType(); !out.IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("the expression is %s, and has to be true or false: compare it with something", named(out))
	}
	p = &Program{text: text}
	if err := p.look(checked.NativeRep()); err != nil {
		return nil, err
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if p.loops {
		// Without loops the size of the expression is the bound, and counting costs more than most of them do.
		options = append(options, cel.CostLimit(costMax), cel.InterruptCheckFrequency(100))
	}
	if p.program, err = env.Program(checked, options...); err != nil {
		return nil, fmt.Errorf("the expression cannot be compiled: %w", err)
	}
	return p, nil
}

// said is the first of CEL's messages, with its place.
func said(issues *cel.Issues) error {
	e := issues.Errors()[0]
	message := strings.TrimSuffix(e.Message, " (in container '')")
	if line := e.Location.Line(); line > 1 {
		return fmt.Errorf("line %d, column %d: %s", line, e.Location.Column()+1, message)
	}
	if column := e.Location.Column(); column >= 0 {
		return fmt.Errorf("column %d: %s", column+1, message)
	}
	return fmt.Errorf("%s", message)
}

func named(t *cel.Type) string {
	switch t.Kind() {
	case types.DynKind:
		return "of a type that only a request knows"
	default:
		return "of the type " + t.String()
	}
}

const inNetworkName = "inNetwork"

// look finds what the expression asks for, and judges what must be known before there is a request: networks and regular expressions.
func (p *Program) look(a *ast.AST) (err error) {
	references := a.ReferenceMap()
	variableOf := func(e ast.Expr) string {
		if r := references[e.ID()]; r != nil {
			return r.Name
		}
		return ""
	}
	for _, r := range references {
		if isVariable(r.Name) && !slices.Contains(p.names, r.Name) {
			p.names = append(p.names, r.Name)
		}
	}
	slices.Sort(p.names)
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		problem := error(nil)
		switch e.Kind() {
		case ast.ComprehensionKind:
			p.loops = true
		case ast.SelectKind:
			if s := e.AsSelect(); variableOf(s.Operand()) == pathParams {
				p.params = append(p.params, s.FieldName())
			}
		case ast.CallKind:
			problem = p.lookAtCall(e.AsCall(), variableOf)
		}
		if err == nil && problem != nil {
			place := a.SourceInfo().GetStartLocation(e.ID())
			err = fmt.Errorf("column %d: %w", place.Column()+1, problem)
			if place.Line() > 1 {
				err = fmt.Errorf("line %d, %w", place.Line(), err)
			}
		}
	}))
	return err
}

func (p *Program) lookAtCall(c ast.CallExpr, variableOf func(ast.Expr) string) error {
	args := c.Args()
	switch c.FunctionName() {
	case operators.Index:
		if name, fixed := literal(args[1]); fixed && variableOf(args[0]) == pathParams {
			p.params = append(p.params, name)
		}
	case "matches":
		if _, fixed := literal(args[len(args)-1]); !fixed {
			return fmt.Errorf("the regular expression of matches has to stand there: what comes with a request is none")
		}
	case inNetworkName:
		list := args[1:]
		if args[1].Kind() == ast.ListKind {
			if list = args[1].AsList().Elements(); len(list) > networkMax {
				return fmt.Errorf("the list has more than %d networks: a policy of the kind addresses takes millions", networkMax)
			}
		}
		for _, n := range list {
			text, fixed := literal(n)
			if !fixed {
				return fmt.Errorf(`the networks of inNetwork have to stand there: inNetwork(client.ip, "10.0.0.0/8")`)
			}
			if _, err := parseNetwork(text); err != nil {
				return fmt.Errorf("%q is no network such as 10.0.0.0/8", text)
			}
		}
	}
	return nil
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := e.AsLiteral().(types.String)
	return string(text), ok
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}
