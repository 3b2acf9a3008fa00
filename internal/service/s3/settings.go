package s3

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
)

// What of a bucket is as AWS has it for one that was told nothing, and what of
// it can be said otherwise.

// GetBucketOwnershipControls implements s3.Handler.
func (s *Service) GetBucketOwnershipControls(ctx context.Context, in *s3.GetBucketOwnershipControlsInput) (*s3.GetBucketOwnershipControlsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err == nil && b.V.Ownership == "" {
		err = missing(b, "OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
	}
	if err != nil {
		return nil, err
	}
	return &s3.GetBucketOwnershipControlsOutput{OwnershipControls: &s3.OwnershipControls{
		Rules: []s3.OwnershipControlsRule{{ObjectOwnership: s3.ObjectOwnership(b.V.Ownership)}},
	}}, nil
}

// PutBucketOwnershipControls implements s3.Handler.
func (s *Service) PutBucketOwnershipControls(ctx context.Context, in *s3.PutBucketOwnershipControlsInput) (*s3.PutBucketOwnershipControlsOutput, error) {
	return &s3.PutBucketOwnershipControlsOutput{}, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, func(_ *api.Call, b *model.S3Bucket) error {
		rules := in.OwnershipControls.Rules
		switch {
		case len(rules) != 1:
			return errMalformed
		case !ownable(rules[0].ObjectOwnership):
			return notImplemented("ObjectOwnership")
		}
		b.Ownership = string(rules[0].ObjectOwnership)
		return nil
	})
}

// DeleteBucketOwnershipControls implements s3.Handler.
func (s *Service) DeleteBucketOwnershipControls(ctx context.Context, in *s3.DeleteBucketOwnershipControlsInput) (*s3.DeleteBucketOwnershipControlsOutput, error) {
	return &s3.DeleteBucketOwnershipControlsOutput{}, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, func(_ *api.Call, b *model.S3Bucket) error {
		b.Ownership = ""
		return nil
	})
}

// GetBucketEncryption implements s3.Handler.
func (s *Service) GetBucketEncryption(ctx context.Context, in *s3.GetBucketEncryptionInput) (*s3.GetBucketEncryptionOutput, error) {
	if _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	return &s3.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: &s3.ServerSideEncryptionConfiguration{Rules: []s3.ServerSideEncryptionRule{{
		ApplyServerSideEncryptionByDefault: &s3.ServerSideEncryptionByDefault{SSEAlgorithm: s3.ServerSideEncryptionAes256}, BucketKeyEnabled: new(false),
	}}}}, nil
}

// PutBucketEncryption implements s3.Handler.
func (s *Service) PutBucketEncryption(ctx context.Context, in *s3.PutBucketEncryptionInput) (*s3.PutBucketEncryptionOutput, error) {
	if _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	rules := in.ServerSideEncryptionConfiguration.Rules
	if len(rules) != 1 {
		return nil, errMalformed
	}
	d := rules[0].ApplyServerSideEncryptionByDefault
	if d != nil && (d.SSEAlgorithm != s3.ServerSideEncryptionAes256 || d.KMSMasterKeyID != nil) || isTrue(rules[0].BucketKeyEnabled) || rules[0].BlockedEncryptionTypes != nil {
		return nil, notImplemented("ServerSideEncryptionConfiguration")
	}
	return &s3.PutBucketEncryptionOutput{}, nil
}

// DeleteBucketEncryption implements s3.Handler.
func (s *Service) DeleteBucketEncryption(ctx context.Context, in *s3.DeleteBucketEncryptionInput) (*s3.DeleteBucketEncryptionOutput, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3.DeleteBucketEncryptionOutput{}, err
}

// GetBucketCors implements s3.Handler.
func (s *Service) GetBucketCors(ctx context.Context, in *s3.GetBucketCorsInput) (*s3.GetBucketCorsOutput, error) {
	return nil, s.never(ctx, in.Bucket, in.ExpectedBucketOwner, "NoSuchCORSConfiguration", "The CORS configuration does not exist")
}

// GetBucketWebsite implements s3.Handler.
func (s *Service) GetBucketWebsite(ctx context.Context, in *s3.GetBucketWebsiteInput) (*s3.GetBucketWebsiteOutput, error) {
	return nil, s.never(ctx, in.Bucket, in.ExpectedBucketOwner, "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
}

// GetBucketLifecycleConfiguration implements s3.Handler.
func (s *Service) GetBucketLifecycleConfiguration(ctx context.Context, in *s3.GetBucketLifecycleConfigurationInput) (*s3.GetBucketLifecycleConfigurationOutput, error) {
	return nil, s.never(ctx, in.Bucket, in.ExpectedBucketOwner, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
}

// GetBucketReplication implements s3.Handler.
func (s *Service) GetBucketReplication(ctx context.Context, in *s3.GetBucketReplicationInput) (*s3.GetBucketReplicationOutput, error) {
	return nil, s.never(ctx, in.Bucket, in.ExpectedBucketOwner, "ReplicationConfigurationNotFoundError", "The replication configuration was not found")
}

// GetObjectLockConfiguration implements s3.Handler.
func (s *Service) GetObjectLockConfiguration(ctx context.Context, in *s3.GetObjectLockConfigurationInput) (*s3.GetObjectLockConfigurationOutput, error) {
	return nil, s.never(ctx, in.Bucket, in.ExpectedBucketOwner, "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
}

// never answers what no bucket is ever told.
func (s *Service) never(ctx context.Context, name, expectedOwner *string, code, message string) error {
	b, err := s.bucket(ctx, name, expectedOwner)
	if err != nil {
		return err
	}
	return missing(b, code, message)
}

// GetBucketLogging implements s3.Handler.
func (s *Service) GetBucketLogging(ctx context.Context, in *s3.GetBucketLoggingInput) (*s3.GetBucketLoggingOutput, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3.GetBucketLoggingOutput{}, err
}

// GetBucketNotificationConfiguration implements s3.Handler.
func (s *Service) GetBucketNotificationConfiguration(ctx context.Context, in *s3.GetBucketNotificationConfigurationInput) (*s3.GetBucketNotificationConfigurationOutput, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3.GetBucketNotificationConfigurationOutput{}, err
}

// GetBucketAccelerateConfiguration implements s3.Handler.
func (s *Service) GetBucketAccelerateConfiguration(ctx context.Context, in *s3.GetBucketAccelerateConfigurationInput) (*s3.GetBucketAccelerateConfigurationOutput, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3.GetBucketAccelerateConfigurationOutput{}, err
}

// GetBucketRequestPayment implements s3.Handler.
func (s *Service) GetBucketRequestPayment(ctx context.Context, in *s3.GetBucketRequestPaymentInput) (*s3.GetBucketRequestPaymentOutput, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3.GetBucketRequestPaymentOutput{Payer: s3.PayerBucketOwner}, err
}

// DeleteBucketCors implements s3.Handler.
func (s *Service) DeleteBucketCors(ctx context.Context, in *s3.DeleteBucketCorsInput) (*s3.DeleteBucketCorsOutput, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3.DeleteBucketCorsOutput{}, err
}

// DeleteBucketLifecycle implements s3.Handler.
func (s *Service) DeleteBucketLifecycle(ctx context.Context, in *s3.DeleteBucketLifecycleInput) (*s3.DeleteBucketLifecycleOutput, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3.DeleteBucketLifecycleOutput{}, err
}

// DeleteBucketReplication implements s3.Handler.
func (s *Service) DeleteBucketReplication(ctx context.Context, in *s3.DeleteBucketReplicationInput) (*s3.DeleteBucketReplicationOutput, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3.DeleteBucketReplicationOutput{}, err
}

// DeleteBucketWebsite implements s3.Handler.
func (s *Service) DeleteBucketWebsite(ctx context.Context, in *s3.DeleteBucketWebsiteInput) (*s3.DeleteBucketWebsiteOutput, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3.DeleteBucketWebsiteOutput{}, err
}
