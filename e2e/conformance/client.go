package conformance

import (
	"errors"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/kubernetes"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// WithClients gives the suite its clients of an API server.
func WithClients(options *suite.ConformanceOptions, cfg *rest.Config) error {
	scheme := clientscheme.Scheme
	err := errors.Join(gatewayv1.Install(scheme), gatewayv1beta1.Install(scheme), apiextensionsv1.AddToScheme(scheme))
	if err != nil {
		return err
	}
	options.RestConfig = cfg
	options.ClientOptions = client.Options{Scheme: scheme}
	if options.Client, err = client.New(cfg, options.ClientOptions); err != nil {
		return err
	}
	options.Clientset, err = kubernetes.NewForConfig(cfg)
	return err
}
