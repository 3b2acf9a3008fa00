// Command push builds the sample app's image and pushes it to a repository in
// ECR: what docker build, docker login and docker push do, without Docker. It
// runs in the folder of Roadstead's sources and reads endpoint, region and keys
// from the environment.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"roadstead.dev/internal/imagebuild"
)

func main() {
	image := flag.String("image", "", "what to push to: <repository URL>:<tag>")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := push(ctx, *image); err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		os.Exit(1)
	}
}

func push(ctx context.Context, image string) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	binary, err := imagebuild.GoBinary(ctx, ".", "./examples/webapp", runtime.GOARCH)
	if err != nil {
		return err
	}
	img, err := imagebuild.Build(imagebuild.Program("webapp", binary))
	if err != nil {
		return err
	}
	// What aws ecr get-login-password prints.
	token, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return err
	}
	login, err := imagebuild.ECRCredentials(*token.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		return err
	}
	digest, err := imagebuild.Push(ctx, image, img, login)
	if err != nil {
		return err
	}
	fmt.Printf("pushed %s (%s)\n", image, digest)
	return nil
}
