provider "aws" {}

data "aws_secretsmanager_random_password" "generated" {
  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "db" {
  name                    = "tf/db"
  description             = "revision ${var.revision}"
  recovery_window_in_days = 0
  kms_key_id              = var.revision > 1 ? "alias/mine" : null
  tags                    = var.revision > 1 ? { Revision = var.revision } : { Revision = var.revision, Old = "yes" }
}

resource "aws_secretsmanager_secret" "prefixed" {
  name_prefix             = "tf-prefixed-"
  recovery_window_in_days = 7
  policy                  = local.policy
}

resource "aws_secretsmanager_secret_version" "db" {
  secret_id     = aws_secretsmanager_secret.db.id
  secret_string = jsonencode({ user = "app", password = "revision ${var.revision}" })
}

resource "aws_secretsmanager_secret_version" "staged" {
  secret_id      = aws_secretsmanager_secret.prefixed.id
  secret_binary  = base64encode("revision ${var.revision}")
  version_stages = var.revision > 1 ? ["AWSCURRENT", "two"] : ["AWSCURRENT", "one"]
}

resource "aws_secretsmanager_secret_policy" "db" {
  secret_arn = aws_secretsmanager_secret.db.arn
  policy     = local.policy
}

locals {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Revision${var.revision}"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::000000000000:root" }
      Action    = "secretsmanager:GetSecretValue"
      Resource  = "*"
    }]
  })
}

data "aws_secretsmanager_secret" "db" {
  name       = aws_secretsmanager_secret.db.name
  depends_on = [aws_secretsmanager_secret_policy.db]
}

data "aws_secretsmanager_secret_version" "db" {
  secret_id  = aws_secretsmanager_secret.db.id
  depends_on = [aws_secretsmanager_secret_version.db]
}

data "aws_secretsmanager_secret_versions" "db" {
  secret_id  = aws_secretsmanager_secret.db.id
  depends_on = [aws_secretsmanager_secret_version.db]
}

data "aws_secretsmanager_secrets" "tf" {
  filter {
    name   = "name"
    values = ["tf/"]
  }
  depends_on = [aws_secretsmanager_secret.db]
}

# Parameters

resource "aws_ssm_parameter" "text" {
  name        = "/tf/app/text"
  description = "revision ${var.revision}"
  type        = "String"
  value       = "value ${var.revision}"
  tags        = var.revision > 1 ? { Revision = var.revision } : { Revision = var.revision, Old = "yes" }
}

resource "aws_ssm_parameter" "list" {
  name  = "/tf/app/list"
  type  = "StringList"
  value = var.revision > 1 ? "a,b,c" : "a,b"
}

resource "aws_ssm_parameter" "secret" {
  name   = "/tf/app/secret"
  type   = "SecureString"
  value  = "secret ${var.revision}"
  key_id = var.revision > 1 ? "alias/mine" : null
}

resource "aws_ssm_parameter" "large" {
  name            = "/tf/large"
  type            = "String"
  tier            = "Advanced"
  insecure_value  = format("%s %s", var.revision, join("", [for n in range(600) : "0123456789"]))
  allowed_pattern = "^[0-9 ]+$"
}

resource "aws_ssm_parameter" "tiered" {
  name      = "tf-tiered"
  type      = "String"
  tier      = "Intelligent-Tiering"
  value     = "small ${var.revision}"
  overwrite = true
}

resource "aws_ssm_parameter" "image" {
  name      = "/tf/image"
  type      = "String"
  data_type = "aws:ec2:image"
  value     = data.aws_ssm_parameter.image.value
}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

data "aws_ssm_parameter" "recommended" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended"
}

data "aws_ssm_parameter" "al2023" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

data "aws_ssm_parameter" "secret" {
  name       = aws_ssm_parameter.secret.name
  depends_on = [aws_ssm_parameter.secret]
}

data "aws_ssm_parameters_by_path" "app" {
  path       = "/tf"
  recursive  = true
  depends_on = [aws_ssm_parameter.text, aws_ssm_parameter.list, aws_ssm_parameter.secret, aws_ssm_parameter.large, aws_ssm_parameter.image]
}

data "aws_ssm_parameters_by_path" "regions" {
  path = "/aws/service/global-infrastructure/regions"
}

output "lookups" {
  sensitive = true
  value = join(" ", [
    jsondecode(data.aws_secretsmanager_secret_version.db.secret_string).password, tostring(data.aws_secretsmanager_secret.db.policy != ""),
    tostring(length(data.aws_secretsmanager_secrets.tf.names)), tostring(length(data.aws_secretsmanager_random_password.generated.random_password)),
    data.aws_ssm_parameter.secret.value, tostring(length(data.aws_ssm_parameters_by_path.app.names)),
    tostring(jsondecode(data.aws_ssm_parameter.recommended.insecure_value).image_id == data.aws_ssm_parameter.image.insecure_value),
    tostring(length(data.aws_ssm_parameters_by_path.regions.names)),
  ])
}
