//! Evaluates expressions: literals, lists, maps, `var.x`, references to blocks, templates, conditions, and the calls
//! `env("X")` and `secret("X")`, and those that make credentials of secrets: `bearer(...)`, `api_key(...)`, `basic(...)`.
//!
//! Evaluated here rather than by `hcl-rs`, whose errors don't say where. Only the branch of a conditional that is
//! chosen is evaluated, and the right side of `&&` and `||` only if it matters. Expressions nest at most as deep as the
//! parser lets them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use hcl_edit::Span;
use hcl_edit::expr::{
    BinaryOperator, Conditional, Expression, FuncCall, Object, ObjectKey, Traversal, TraversalOperator, UnaryOperator,
};
use hcl_edit::template::{Element, Strip, Template};

use crate::block::{KINDS, KINDS_LATER};
use crate::diagnostic::Report;
use crate::limits::{ELEMENTS_MAX, TEXT_BYTES_MAX};
use crate::value::{CredentialForm, Credentials, Kind, Secret, Value};
use crate::{Diagnostic, Inputs, Place, SECRET_PREFIX, Source, nearest};

const UNDERSTOOD: &str = "values are strings, numbers, booleans, lists, `var.NAME`, references such as `stream.NAME`, conditions `a == b ? x : y`, and the calls `env(\"NAME\")` and `secret(\"NAME\")`";

/// What expressions may refer to.
pub(crate) struct Scope<'a> {
    pub(crate) inputs: &'a Inputs,
    /// Values of the declared variables; none while they are themselves evaluated.
    pub(crate) variables: Option<BTreeMap<String, Kind>>,
    /// The variables that were referred to.
    pub(crate) used: RefCell<BTreeSet<String>>,
}

/// Evaluates one file's expressions.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    pub(crate) scope: &'a Scope<'a>,
    pub(crate) source: &'a Arc<Source>,
}

impl Evaluator<'_> {
    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        Place::new(Arc::clone(self.source), span)
    }

    /// Evaluates an expression; what is wrong is reported, and evaluates to [`Kind::Unknown`].
    pub(crate) fn value(&self, expression: &Expression, report: &mut Report) -> Value {
        let span = expression.span().unwrap_or_default();
        let kind = self.kind(expression, &span, report).unwrap_or_else(|diagnostic| {
            report.push(*diagnostic);
            Kind::Unknown
        });
        Value { kind, span }
    }

    fn kind(&self, expression: &Expression, span: &Range<usize>, report: &mut Report) -> Result<Kind, Box<Diagnostic>> {
        Ok(match expression {
            Expression::Null(_) => Kind::Null,
            Expression::Bool(value) => Kind::Bool(*value.value()),
            Expression::Number(value) => Kind::Number(value.value().as_f64().unwrap_or(f64::NAN)),
            Expression::String(value) => self.text(value.value().clone(), span)?,
            Expression::Array(array) => {
                self.check_elements(array.len(), span)?;
                Kind::List(array.iter().map(|element| self.value(element, report)).collect())
            }
            Expression::Object(object) => self.map(object, span, report)?,
            Expression::StringTemplate(template) => self.template(template.iter(), span, report)?,
            Expression::HeredocTemplate(heredoc) => {
                let template: &Template = &heredoc.template;
                self.template(template.iter(), span, report)?
            }
            Expression::Parenthesis(inner) => self.value(inner.inner(), report).kind,
            Expression::Conditional(conditional) => self.conditional(conditional, report)?,
            Expression::FuncCall(call) => self.call(call, span, report)?,
            Expression::Traversal(traversal) => self.traversal(traversal, span)?,
            Expression::UnaryOp(operation) => {
                let value = self.value(&operation.expr, report);
                match (*operation.operator.value(), value.kind) {
                    (UnaryOperator::Not, Kind::Bool(value)) => Kind::Bool(!value),
                    (UnaryOperator::Neg, Kind::Number(value)) => Kind::Number(-value),
                    (_, Kind::Unknown) => Kind::Unknown,
                    (operator, other) => {
                        return Err(self.error(
                            span,
                            format!("`{}` can't be applied to {}", operator.as_str(), other.described()),
                        ));
                    }
                }
            }
            Expression::BinaryOp(operation) => {
                let left = self.value(&operation.lhs_expr, report);
                let operator = *operation.operator.value();
                if let (BinaryOperator::And, Kind::Bool(false)) | (BinaryOperator::Or, Kind::Bool(true)) =
                    (operator, &left.kind)
                {
                    return Ok(left.kind);
                }
                let right = self.value(&operation.rhs_expr, report);
                self.compare(operator, &left.kind, &right.kind, span)?
            }
            Expression::Variable(name) => {
                return Err(self
                    .error(span, format!("`{}` is not a value", name.as_str()))
                    .with_hint(format!("write \"{0}\" in quotes, or `var.{0}` for a variable", name.as_str())));
            }
            Expression::ForExpr(_) => {
                return Err(self.error(span, "`for` is not supported".to_owned()));
            }
        })
    }

    fn error(&self, span: &Range<usize>, message: String) -> Box<Diagnostic> {
        Box::new(Diagnostic::error(message).at(self.place(span.clone())).hint(UNDERSTOOD))
    }

    fn text(&self, text: String, span: &Range<usize>) -> Result<Kind, Box<Diagnostic>> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(self.error(span, format!("the string has {} bytes, and may have {TEXT_BYTES_MAX}", text.len())));
        }
        Ok(Kind::Text(text))
    }

    fn check_elements(&self, elements: usize, span: &Range<usize>) -> Result<(), Box<Diagnostic>> {
        if elements > ELEMENTS_MAX {
            return Err(self.error(span, format!("there are {elements} elements, and there may be {ELEMENTS_MAX}")));
        }
        Ok(())
    }

    fn map(&self, object: &Object, span: &Range<usize>, report: &mut Report) -> Result<Kind, Box<Diagnostic>> {
        self.check_elements(object.len(), span)?;
        let mut entries: Vec<(String, Value)> = Vec::new();
        for (key, value) in object {
            let name = match key {
                ObjectKey::Ident(name) => name.as_str().to_owned(),
                ObjectKey::Expression(Expression::String(name)) => name.value().clone(),
                ObjectKey::Expression(other) => {
                    let span = other.span().unwrap_or_else(|| span.clone());
                    return Err(self.error(&span, "a key of a map is a name or a string".to_owned()));
                }
            };
            if entries.iter().any(|(known, _)| *known == name) {
                let span = value.expr().span().unwrap_or_else(|| span.clone());
                return Err(self.error(&span, format!("key `{name}` is set twice")));
            }
            entries.push((name, self.value(value.expr(), report)));
        }
        Ok(Kind::Map(entries))
    }

    fn template<'e>(
        &self,
        elements: impl Iterator<Item = &'e Element>,
        span: &Range<usize>,
        report: &mut Report,
    ) -> Result<Kind, Box<Diagnostic>> {
        let mut text = String::new();
        let mut secrets: Vec<String> = Vec::new();
        for element in elements {
            match element {
                Element::Literal(literal) => text.push_str(literal),
                Element::Interpolation(inner) if inner.strip == Strip::None => {
                    let value = self.value(&inner.expr, report);
                    match value.kind {
                        Kind::Text(value) => text.push_str(&value),
                        Kind::Number(value) => text.push_str(&value.to_string()),
                        Kind::Bool(value) => text.push_str(if value { "true" } else { "false" }),
                        Kind::Secret(secret) => {
                            text.push_str(&secret.text);
                            secrets.push(secret.name);
                        }
                        Kind::Unknown => return Ok(Kind::Unknown),
                        other => {
                            return Err(
                                self.error(&value.span, format!("{} can't be part of a string", other.described()))
                            );
                        }
                    }
                }
                Element::Interpolation(_) | Element::Directive(_) => {
                    let span = element.span().unwrap_or_else(|| span.clone());
                    return Err(self
                        .error(&span, "only `${...}` is supported in a string".to_owned())
                        .with_hint("write `$${` or `%%{` for the characters themselves".to_owned()));
                }
            }
            if text.len() > TEXT_BYTES_MAX {
                break;
            }
        }
        match (self.text(text, span)?, secrets.as_slice()) {
            (Kind::Text(text), [_, ..]) => Ok(Kind::Secret(Secret { name: secrets.join(", "), text })),
            (kind, _) => Ok(kind),
        }
    }

    fn conditional(&self, conditional: &Conditional, report: &mut Report) -> Result<Kind, Box<Diagnostic>> {
        let condition = self.value(&conditional.cond_expr, report);
        match condition.kind {
            Kind::Bool(true) => Ok(self.value(&conditional.true_expr, report).kind),
            Kind::Bool(false) => Ok(self.value(&conditional.false_expr, report).kind),
            Kind::Unknown => Ok(Kind::Unknown),
            other => {
                Err(self.error(&condition.span, format!("a condition is a boolean, and this is {}", other.described())))
            }
        }
    }

    fn compare(
        &self,
        operator: BinaryOperator,
        left: &Kind,
        right: &Kind,
        span: &Range<usize>,
    ) -> Result<Kind, Box<Diagnostic>> {
        let equal = match (left, right) {
            (Kind::Unknown, _) | (_, Kind::Unknown) => return Ok(Kind::Unknown),
            (Kind::Null, Kind::Null) => Some(true),
            (Kind::Bool(left), Kind::Bool(right)) => Some(left == right),
            (Kind::Number(left), Kind::Number(right)) => Some(left == right),
            (Kind::Text(left), Kind::Text(right)) => Some(left == right),
            _ => None,
        };
        let value = match (operator, left, right) {
            (BinaryOperator::Eq, ..) => equal,
            (BinaryOperator::NotEq, ..) => equal.map(|equal| !equal),
            (BinaryOperator::And, Kind::Bool(left), Kind::Bool(right)) => Some(*left && *right),
            (BinaryOperator::Or, Kind::Bool(left), Kind::Bool(right)) => Some(*left || *right),
            (BinaryOperator::Less, Kind::Number(left), Kind::Number(right)) => Some(left < right),
            (BinaryOperator::LessEq, Kind::Number(left), Kind::Number(right)) => Some(left <= right),
            (BinaryOperator::Greater, Kind::Number(left), Kind::Number(right)) => Some(left > right),
            (BinaryOperator::GreaterEq, Kind::Number(left), Kind::Number(right)) => Some(left >= right),
            (
                BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Mul
                | BinaryOperator::Div
                | BinaryOperator::Mod,
                ..,
            ) => {
                return Err(self
                    .error(span, format!("`{}` is not supported", operator.as_str()))
                    .with_hint("write the result".to_owned()));
            }
            _ => None,
        };
        value.map(Kind::Bool).ok_or_else(|| {
            let (left, right) = (left.described(), right.described());
            self.error(span, format!("`{}` can't be applied to {left} and {right}", operator.as_str()))
        })
    }

    fn call(&self, call: &FuncCall, span: &Range<usize>, report: &mut Report) -> Result<Kind, Box<Diagnostic>> {
        let name = call.name.name.as_str();
        if let Some(form) = CredentialForm::ALL.into_iter().find(|form| form.name() == name)
            && !call.name.is_namespaced()
        {
            return self.credentials(form, call, span, report);
        }
        if call.name.is_namespaced() || !["env", "secret"].contains(&name) {
            let span = call.name.name.span().unwrap_or_else(|| span.clone());
            let known = ["env", "secret"].into_iter().chain(CredentialForm::ALL.map(CredentialForm::name));
            let hint = nearest::hint(name, known, "functions of a configuration");
            return Err(self.error(&span, format!("unknown function `{name}`")).with_hint(hint));
        }
        let (1, Some(argument), false) = (call.args.len(), call.args.get(0), call.args.expand_final()) else {
            return Err(self
                .error(span, format!("`{name}` takes one argument"))
                .with_hint(format!("write `{name}(\"NAME\")`")));
        };
        let argument = self.value(argument, report);
        let variable = match argument.kind {
            Kind::Text(text) => text,
            Kind::Unknown => return Ok(Kind::Unknown),
            other => {
                let message = format!("`{name}` takes the name of a variable, and this is {}", other.described());
                return Err(self.error(&argument.span, message).with_hint(format!("write `{name}(\"NAME\")`")));
            }
        };
        if name == "secret" {
            if let Some(text) = self.scope.inputs.secret(&variable) {
                return Ok(Kind::Secret(Secret { name: variable, text }));
            }
            return Err(self
                .error(span, format!("secret `{variable}` is not set"))
                .with_hint(format!("set `{SECRET_PREFIX}{variable}` in the environment")));
        }
        match self.scope.inputs.env(&variable) {
            Some(value) => self.text(value, span),
            None => Err(self.error(span, format!("the environment has no `{variable}`")).with_hint(format!(
                "set it, such as with `export {variable}=...`, or declare a variable with a default"
            ))),
        }
    }

    /// Keeps what credentials are made of; whoever may hold them looks at it.
    fn credentials(
        &self,
        form: CredentialForm,
        call: &FuncCall,
        span: &Range<usize>,
        report: &mut Report,
    ) -> Result<Kind, Box<Diagnostic>> {
        if call.args.expand_final() {
            let message = format!("the arguments of `{}` can't be expanded", form.name());
            return Err(self.error(span, message).with_hint(format!("write `{}`", form.example())));
        }
        self.check_elements(call.args.len(), span)?;
        let arguments: Vec<Value> = call.args.iter().map(|argument| self.value(argument, report)).collect();
        if arguments.iter().any(|argument| matches!(argument.kind, Kind::Unknown)) {
            return Ok(Kind::Unknown);
        }
        Ok(Kind::Credentials(Credentials { form, arguments }))
    }

    fn traversal(&self, traversal: &Traversal, span: &Range<usize>) -> Result<Kind, Box<Diagnostic>> {
        let Expression::Variable(root) = &traversal.expr else {
            return Err(self.error(span, "this is not supported".to_owned()));
        };
        let root = root.as_str();
        let [operator] = traversal.operators.as_slice() else {
            return Err(self
                .error(span, format!("`{root}` has no such part"))
                .with_hint(format!("a reference has two parts: `{root}.NAME`")));
        };
        let TraversalOperator::GetAttr(name) = operator.value() else {
            return Err(self.error(span, "indexes are not supported".to_owned()));
        };
        let name = name.as_str();
        if root == "var" {
            return self.variable(name, span);
        }
        if !KINDS.contains(&root) && !KINDS_LATER.contains(&root) {
            let kinds = KINDS.iter().copied().filter(|kind| *kind != "variable").chain(["var"]);
            let hint = nearest::hint(root, kinds, "references begin with");
            return Err(self.error(span, format!("`{root}` is not a kind of thing")).with_hint(hint));
        }
        Ok(Kind::Reference { kind: root.to_owned(), name: name.to_owned() })
    }

    fn variable(&self, name: &str, span: &Range<usize>) -> Result<Kind, Box<Diagnostic>> {
        self.scope.used.borrow_mut().insert(name.to_owned());
        let Some(variables) = &self.scope.variables else {
            let hint = "write the value, or take it from the environment with `env(\"NAME\")`".to_owned();
            return Err(self.error(span, "a variable can't refer to a variable".to_owned()).with_hint(hint));
        };
        variables.get(name).cloned().ok_or_else(|| {
            let hint = match weir_types::nearest(name, variables.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `var.{near}`?"),
                None => format!("declare it: variable \"{name}\" {{ default = ... }}"),
            };
            self.error(span, format!("there is no variable \"{name}\"")).with_hint(hint)
        })
    }
}

trait WithHint {
    fn with_hint(self, hint: String) -> Self;
}

impl WithHint for Box<Diagnostic> {
    fn with_hint(mut self, hint: String) -> Self {
        self.hint = Some(hint);
        self
    }
}
