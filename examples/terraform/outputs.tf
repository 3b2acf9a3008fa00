output "url" {
  description = "Where the service answers"
  value       = "http://${aws_lb.this.dns_name}"
}

output "repository_url" {
  value = aws_ecr_repository.app.repository_url
}

output "log_group" {
  value = module.service.log_group
}
