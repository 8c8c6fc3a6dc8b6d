package gatehouse

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"time"
)

// Document is what `GET /status` answers.
type Document struct {
	Objects []Object `json:"objects"`
}

// Object is the status of one object, as Kubernetes would hold it.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Namespace  string `json:"namespace"`
		Name       string `json:"name"`
		Generation int64  `json:"generation"`
	} `json:"metadata"`
	Status map[string]any `json:"status"`
}

// Find returns the entry of an object, nil when there is none.
func (d *Document) Find(kind, namespace, name string) *Object {
	for i := range d.Objects {
		o := &d.Objects[i]
		if o.Kind == kind && o.Metadata.Namespace == namespace && o.Metadata.Name == name {
			return o
		}
	}
	return nil
}

// Listener is the status of a listener of a Gateway or ListenerSet.
type Listener struct {
	AttachedRoutes int
	Conditions     map[string]Condition
}

// Listeners returns the statuses of the listeners by name.
func (o *Object) Listeners() map[string]Listener {
	out := map[string]Listener{}
	for _, status := range o.items("listeners") {
		name, _ := status["name"].(string)
		attached, _ := status["attachedRoutes"].(float64)
		out[name] = Listener{AttachedRoutes: int(attached), Conditions: (&Object{Status: status}).Conditions()}
	}
	return out
}

// Parents returns the conditions of a route for each parent, by what the reference says: `Kind namespace/name/section`.
func (o *Object) Parents() map[string]map[string]Condition {
	out := map[string]map[string]Condition{}
	for _, parent := range o.items("parents") {
		reference, _ := parent["parentRef"].(map[string]any)
		text := func(field string) string {
			value, _ := reference[field].(string)
			return value
		}
		key := fmt.Sprintf("%s %s/%s/%s", cmp.Or(text("kind"), "Gateway"), text("namespace"), text("name"), text("sectionName"))
		out[key] = (&Object{Status: parent}).Conditions()
	}
	return out
}

// items is a list of the status.
func (o *Object) items(field string) []map[string]any {
	var out []map[string]any
	if o == nil {
		return nil
	}
	list, _ := o.Status[field].([]any)
	for _, item := range list {
		fields, _ := item.(map[string]any)
		out = append(out, fields)
	}
	return out
}

// Conditions returns the conditions at a path of lists and objects below status, by type: for an
// HTTPRoute those of all parents, for a Gateway its own.
func (o *Object) Conditions() map[string]Condition {
	out := map[string]Condition{}
	collect := func(list any) {
		items, _ := list.([]any)
		for _, item := range items {
			c, _ := item.(map[string]any)
			condition := Condition{}
			condition.Type, _ = c["type"].(string)
			condition.Status, _ = c["status"].(string)
			condition.Reason, _ = c["reason"].(string)
			condition.Message, _ = c["message"].(string)
			out[condition.Type] = condition
		}
	}
	if o == nil {
		return out
	}
	collect(o.Status["conditions"])
	for _, parent := range o.items("parents") {
		collect(parent["conditions"])
	}
	return out
}

// Condition is the part of a condition that tests look at.
type Condition struct{ Type, Status, Reason, Message string }

// Status fetches the present statuses.
func (p *Process) Status(ctx context.Context) (*Document, error) {
	body, err := p.get(ctx, "/status")
	if err != nil {
		return nil, err
	}
	return decode(body)
}

// Statuses yields the document again and again until ctx ends, changed or not: the reader may have
// changed meanwhile. Failed reads are skipped: gatehouse may be between two lives.
func (p *Process) Statuses(ctx context.Context, interval time.Duration) iter.Seq[*Document] {
	return func(yield func(*Document) bool) {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if document, err := p.Status(ctx); err == nil && !yield(document) {
				return
			}
		}
	}
}
