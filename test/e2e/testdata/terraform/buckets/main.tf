provider "aws" {}

data "aws_elb_service_account" "here" {}

resource "aws_s3_bucket" "logs" {
  bucket        = "tf-access-logs"
  force_destroy = true
  tags          = { Revision = var.revision }
}

resource "aws_s3_bucket_public_access_block" "logs" {
  bucket                  = aws_s3_bucket.logs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = var.revision > 1
}

resource "aws_s3_bucket_ownership_controls" "logs" {
  bucket = aws_s3_bucket.logs.id
  rule {
    object_ownership = "BucketOwnerPreferred"
  }
}

resource "aws_s3_bucket_acl" "logs" {
  bucket     = aws_s3_bucket.logs.id
  acl        = "private"
  depends_on = [aws_s3_bucket_ownership_controls.logs]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = data.aws_elb_service_account.here.arn }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.logs.arn}/revision-${var.revision}/*"
    }]
  })
}

resource "aws_s3_object" "bundle" {
  bucket       = aws_s3_bucket.logs.bucket
  key          = "trust/ca bundle.pem"
  content      = "revision ${var.revision}"
  content_type = "application/x-pem-file"
  metadata     = { revision = var.revision }
  tags         = { Revision = var.revision }
}

data "aws_s3_object" "bundle" {
  bucket = aws_s3_object.bundle.bucket
  key    = aws_s3_object.bundle.key
  # What a data source reads is known only after the object is.
  depends_on = [aws_s3_object.bundle]
}

resource "aws_s3_bucket_versioning" "logs" {
  bucket = aws_s3_bucket.logs.id
  versioning_configuration {
    status = var.revision > 1 ? "Suspended" : "Enabled"
  }
}
