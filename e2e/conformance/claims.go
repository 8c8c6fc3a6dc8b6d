package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// Claims waits until the suite's GatewayClass is accepted, and reads which features it claims.
func Claims(ctx context.Context, c client.Client, patience time.Duration) (sets.Set[features.FeatureName], error) {
	var class gatewayv1.GatewayClass
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = claims(ctx, c, &class)
		return last == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("GatewayClass %s: %w", GatewayClass, errors.Join(err, last))
	}
	claimed := sets.New[features.FeatureName]()
	for _, feature := range class.Status.SupportedFeatures {
		claimed.Insert(features.FeatureName(feature.Name))
	}
	return claimed, nil
}

func claims(ctx context.Context, c client.Client, class *gatewayv1.GatewayClass) error {
	if err := c.Get(ctx, client.ObjectKey{Name: GatewayClass}, class); err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(class.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted)) {
		return fmt.Errorf("it is not accepted: %v", class.Status.Conditions)
	}
	if len(class.Status.SupportedFeatures) == 0 {
		return errors.New("it claims no features")
	}
	return nil
}

// Check says what a GatewayClass claims besides the plan, and what it does not.
func (p Plan) Check(claimed sets.Set[features.FeatureName]) error {
	planned := sets.New(p.Supported()...)
	missing, excess := planned.Difference(claimed), claimed.Difference(planned)
	if len(missing)+len(excess) > 0 {
		return fmt.Errorf("the GatewayClass does not claim %v, and claims %v, which is not planned", sets.List(missing), sets.List(excess))
	}
	return nil
}
