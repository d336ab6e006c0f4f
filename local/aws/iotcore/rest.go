package iotcore

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// bodyMaximum bounds a request to the control plane, in bytes.
const bodyMaximum = 1 << 20

// Handler is the REST control plane (and of the data plane Publish and the device shadows), with the paths and JSON of AWS IoT.
// A request without an Authorization header is refused (403); the signature in it is not verified. Anything
// else answers 501 with its name. https://docs.aws.amazon.com/iot/latest/apireference/
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, do := range map[string]operation{
		"POST /things/{name}":                                    s.createThing,
		"GET /things/{name}":                                     s.describeThing,
		"PATCH /things/{name}":                                   s.updateThing,
		"DELETE /things/{name}":                                  s.deleteThing,
		"GET /things":                                            s.listThings,
		"PUT /things/{name}/principals":                          s.attachThingPrincipal,
		"DELETE /things/{name}/principals":                       s.detachThingPrincipal,
		"GET /things/{name}/principals":                          s.listThingPrincipals,
		"POST /certificates":                                     s.createCertificateFromCSR,
		"GET /certificates/{id}":                                 s.describeCertificate,
		"PUT /certificates/{id}":                                 s.updateCertificate,
		"DELETE /certificates/{id}":                              s.deleteCertificate,
		"POST /policies/{name}":                                  s.createPolicy,
		"GET /policies/{name}":                                   s.getPolicy,
		"DELETE /policies/{name}":                                s.deletePolicy,
		"PUT /target-policies/{name}":                            s.attachPolicy,
		"POST /target-policies/{name}":                           s.detachPolicy,
		"POST /attached-policies/{target}":                       s.listAttachedPolicies,
		"POST /rules/{name}":                                     s.createTopicRule,
		"PATCH /rules/{name}":                                    s.replaceTopicRule,
		"GET /rules/{name}":                                      s.getTopicRule,
		"DELETE /rules/{name}":                                   s.deleteTopicRule,
		"GET /endpoint":                                          s.describeEndpoint,
		"POST /topics/{topic}":                                   s.publish,
		"GET /things/{name}/shadow":                              s.shadow("get"),
		"POST /things/{name}/shadow":                             s.shadow("update"),
		"DELETE /things/{name}/shadow":                           s.shadow("delete"),
		"GET /api/things/shadow/ListNamedShadowsForThing/{name}": s.listNamedShadows,
		"POST /keys-and-certificate":                             unsupported("CreateKeysAndCertificate"),
		"POST /certificate/register":                             unsupported("RegisterCertificate"),
		"POST /certificate/register-no-ca":                       unsupported("RegisterCertificateWithoutCA"),
		"GET /certificates":                                      unsupported("ListCertificates"),
		"GET /policies":                                          unsupported("ListPolicies"),
		"POST /policies/{name}/version":                          unsupported("CreatePolicyVersion"),
		"GET /policies/{name}/version":                           unsupported("ListPolicyVersions"),
		"POST /policy-targets/{name}":                            unsupported("ListTargetsForPolicy"),
		"GET /rules":                                             unsupported("ListTopicRules"),
		"POST /rules/{name}/enable":                              unsupported("EnableTopicRule"),
		"POST /rules/{name}/disable":                             unsupported("DisableTopicRule"),
		"GET /principals/things":                                 unsupported("ListPrincipalThings"),
		"POST /thing-types/{name}":                               unsupported("CreateThingType"),
		"POST /thing-groups/{name}":                              unsupported("CreateThingGroup"),
		"POST /jobs/{id}":                                        unsupported("CreateJob"),
		"GET /retainedMessage/{topic}":                           unsupported("GetRetainedMessage"),
		"GET /retainedMessage":                                   unsupported("ListRetainedMessages"),
	} {
		mux.Handle(pattern, s.serve(do))
	}
	mux.Handle("/", s.serve(func(r *http.Request) (any, error) {
		return nil, notImplemented(r.Method + " " + clip(r.URL.Path))
	}))
	mux.Handle("POST /_faults", s.faults)
	return mux
}

// operation answers one API call: a value to be written as JSON, or an error, best an *apiError.
type operation func(r *http.Request) (any, error)

// none is the answer of an operation that has nothing to say.
type none struct{}

func (s *Server) serve(do operation) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodyMaximum)
		answer, err := any(nil), error(nil)
		if r.Header.Get("Authorization") == "" {
			err = &apiError{Status: http.StatusForbidden, Code: "MissingAuthenticationTokenException",
				Message: "the request has no Authorization header: sign it (any credentials will do here)"}
		} else {
			answer, err = do(r)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Amzn-RequestId", s.newUUID())
		if err != nil {
			s.writeError(w, r, err)
			return
		}
		_ = json.NewEncoder(w).Encode(answer) // the caller hung up: nobody to tell
	})
}

func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var e *apiError
	if !errors.As(err, &e) {
		s.cfg.Log.Error("IoT control plane", "request", r.Method+" "+clip(r.URL.Path), "err", err)
		e = &apiError{Status: http.StatusInternalServerError, Code: "InternalFailureException", Message: err.Error()}
	}
	s.cfg.Log.Debug("IoT control plane", "request", r.Method+" "+clip(r.URL.Path), "err", e.Error())
	body := map[string]string{"message": e.Message}
	for k, v := range e.Extra {
		body[k] = v
	}
	w.Header().Set("X-Amzn-ErrorType", e.Code)
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(body)
}

func unsupported(name string) operation {
	return func(*http.Request) (any, error) { return nil, notImplemented(name) }
}

func notImplemented(what string) error {
	return &apiError{Status: http.StatusNotImplemented, Code: "NotImplementedException",
		Message: what + " is not among the operations of the local IoT Core"}
}

// decode reads the request's JSON body; members it has no place for are named, not skipped.
func decode(r *http.Request, into any) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return invalid("request body: %v", err)
	}
	if len(b) == 0 {
		return nil
	}
	if err := decodeStrict(b, into); err != nil {
		return invalid("request body: %v", err)
	}
	return nil
}

// epoch is a time as this API writes it: seconds since 1970 with a fraction.
func epoch(t time.Time) json.Number {
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
}

// number reads an integer of the query string; absent means 0.
func number(r *http.Request, name string) (int64, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, invalid("%s=%q is not a number", name, clip(v))
	}
	return n, nil
}

func flag(r *http.Request, name string) bool { return r.URL.Query().Get(name) == "true" }

// page cuts a sorted list of names: at most the number that the query parameter size asks for (250 at most), after the
// name that the parameter token carries. It gives the token of the next page, "" at the end.
func page(r *http.Request, names []string, size, token string) ([]string, string, error) {
	limit, err := number(r, size)
	if err != nil {
		return nil, "", err
	}
	if limit == 0 || limit > 250 {
		limit = 250
	}
	after := r.URL.Query().Get(token)
	from := 0
	for from < len(names) && after != "" && names[from] <= after {
		from++
	}
	names = names[from:]
	if int64(len(names)) <= limit {
		return names, "", nil
	}
	return names[:limit], names[limit-1], nil
}

// describeEndpoint answers iot:Data-ATS with host and port: locally the port is not always 8883.
func (s *Server) describeEndpoint(r *http.Request) (any, error) {
	if t := r.URL.Query().Get("endpointType"); t != "iot:Data-ATS" {
		return nil, invalid("endpointType %q is not supported by the local IoT Core, iot:Data-ATS is", t)
	}
	return map[string]string{"endpointAddress": s.MQTTAddr()}, nil
}

// publish is Publish of the data plane.
func (s *Server) publish(r *http.Request) (any, error) {
	q := r.URL.Query()
	for name := range q {
		if name != "qos" && name != "retain" {
			return nil, invalid("%s is not supported by the local IoT Core", clip(name))
		}
	}
	if flag(r, "retain") {
		return nil, invalid("the local IoT Core keeps no retained messages")
	}
	qos, err := number(r, "qos")
	if err != nil || qos > 1 {
		return nil, invalid("qos is 0 or 1")
	}
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, invalid("payload: %v", err)
	}
	if err := s.broker.publish(r.PathValue("topic"), payload, byte(qos)); err != nil {
		s.refusals.add(RefusedPublish, "n/a", r.PathValue("topic"), err.Error(), origin{payload: payload})
		return nil, invalid("%v", err)
	}
	return none{}, nil
}

// ruleBody is TopicRulePayload. An action is read as a map so that one of another kind can be named.
type ruleBody struct {
	SQL         string                     `json:"sql"`
	SQLVersion  string                     `json:"awsIotSqlVersion"`
	Description string                     `json:"description"`
	Disabled    bool                       `json:"ruleDisabled"`
	Actions     []map[string]kinesisAction `json:"actions"`
	Error       map[string]kinesisAction   `json:"errorAction"`
}

func (s *Server) createTopicRule(r *http.Request) (any, error) {
	u, err := readRule(r)
	if err != nil {
		return nil, err
	}
	return none{}, s.registry.putRule(u, false)
}

func (s *Server) replaceTopicRule(r *http.Request) (any, error) {
	u, err := readRule(r)
	if err != nil {
		return nil, err
	}
	return none{}, s.registry.putRule(u, true)
}

func readRule(r *http.Request) (*rule, error) {
	if r.Header.Get("X-Amz-Tagging") != "" {
		return nil, invalid("tags are not supported by the local IoT Core")
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, invalid("request body: %v", err)
	}
	var kinds struct {
		Actions []map[string]json.RawMessage `json:"actions"`
		Error   map[string]json.RawMessage   `json:"errorAction"`
	}
	if err := json.Unmarshal(b, &kinds); err != nil {
		return nil, invalid("request body: %v", err)
	}
	for _, action := range append(kinds.Actions, kinds.Error) {
		for kind := range action {
			if kind != "kinesis" {
				return nil, invalid("the action %q is not supported by the local IoT Core, kinesis is", clip(kind))
			}
		}
	}
	var in ruleBody
	if err := decodeStrict(b, &in); err != nil {
		return nil, invalid("request body: %v", err)
	}
	if v := in.SQLVersion; v != "" && v != "2015-10-08" && v != "2016-03-23" {
		return nil, invalid("awsIotSqlVersion %q is not supported by the local IoT Core, 2016-03-23 is", clip(v))
	}
	u := &rule{Name: r.PathValue("name"), SQL: in.SQL, SQLVersion: in.SQLVersion, Description: in.Description, Disabled: in.Disabled}
	for _, action := range in.Actions {
		u.Actions = append(u.Actions, action["kinesis"])
	}
	if len(in.Error) > 0 {
		action := in.Error["kinesis"]
		u.Error = &action
	}
	return u, nil
}

func (s *Server) getTopicRule(r *http.Request) (any, error) {
	name := r.PathValue("name")
	u, ok := s.registry.rule(name)
	if !ok {
		return nil, noSuchRule(name)
	}
	version := u.SQLVersion
	if version == "" {
		version = "2015-10-08" // AWS IoT's default
	}
	body := map[string]any{
		"ruleName": u.Name, "sql": u.SQL, "description": u.Description, "ruleDisabled": u.Disabled,
		"awsIotSqlVersion": version, "createdAt": epoch(u.Created),
	}
	actions := []map[string]kinesisAction{}
	for _, a := range u.Actions {
		actions = append(actions, map[string]kinesisAction{"kinesis": a})
	}
	body["actions"] = actions
	if u.Error != nil {
		body["errorAction"] = map[string]kinesisAction{"kinesis": *u.Error}
	}
	return map[string]any{"ruleArn": s.registry.arn("rule/" + u.Name), "rule": body}, nil
}

func (s *Server) deleteTopicRule(r *http.Request) (any, error) {
	return none{}, s.registry.deleteRule(r.PathValue("name"))
}
