package config

// Defaults applies to every route that does not say otherwise.
type Defaults struct {
	Use       List[Use] `cfg:"use" doc:"policies of every route; the word route stands for the route's own list"`
	Timeout   Duration  `cfg:"timeout" default:"60s" off:"true" doc:"from the request until the response head, retries included"`
	BodyLimit *Size     `cfg:"body_limit" off:"true" doc:"the largest request body; limits.body_bytes by default"`
	Errors    Errors    `cfg:"errors" doc:"the form of error answers"`
	CORS      *CORS     `cfg:"cors" doc:"which pages of other origins may call"`
}

func (v *validator) defaults(d Defaults) {
	v.uses(d.Use, "defaults.use", true)
	v.cors(d.CORS, "defaults.cors")
	v.errors(&d.Errors, "defaults.errors")
}
