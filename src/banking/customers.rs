//! Tenants and customers.

use super::store;
use crate::error::Error;
use crate::pg::{Arg, Session, Statement, Text, Type, finish};
use crate::txn_processing::bounds::{bounded_text, given_text};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{id, required, sql_id};
use pgrx::datum::Date;
use pgrx::prelude::*;
use uuid::Uuid;

const MAX_NAME: usize = 200;

static INSERT_CUSTOMER: Statement = Statement::new(
    c"INSERT INTO banking.customers
          (tenant_no, first_name, last_name, email, phone_primary, date_of_birth, customer_type, phone_secondary,
           address_line1, address_line2, city, state_province, postal_code, country_code)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
      RETURNING customer_id",
    &[
        Type::Int, Type::Text, Type::Text, Type::Text, Type::Text, Type::Date, Type::Text, Type::Text, Type::Text,
        Type::Text, Type::Text, Type::Text, Type::Text, Type::Text,
    ],
);

fn some_text<'a>(name: &'static str, text: Option<&'a str>, most: usize) -> Result<&'a str, Error> {
    given_text(name, required(name, text)?, most)
}

/// A customer's texts with the lengths that their columns have.
struct Texts<'a>([(&'static str, Option<&'a str>, usize); 12]);

impl Texts<'_> {
    fn check(&self) -> Result<(), Error> {
        for (name, text, most) in &self.0[..2] {
            some_text(name, *text, *most)?;
        }
        for (name, text, most) in &self.0[2..] {
            bounded_text(name, *text, *most)?;
        }
        required("customer_type", self.0[4].1).map(drop)
    }
}

fn insert_customer(
    session: &Session,
    tenant_no: i32,
    texts: &Texts,
    date_of_birth: Option<i32>,
) -> Result<Uuid, Error> {
    let mut args = vec![Arg::Int(Some(tenant_no))];
    args.extend(texts.0.iter().map(|(_, text, _)| Arg::Text(*text)));
    args.insert(5, Arg::Date(date_of_birth));
    let row = session.run(&INSERT_CUSTOMER, &args)?.first();
    Ok(row.and_then(|row| row.uuid(1)).expect("INSERT ... RETURNING gives the row"))
}

fn new_tenant(name: Option<&str>) -> Result<Uuid, Error> {
    let name = some_text("name", name, MAX_NAME)?;
    let desk = Desk::open();
    store::insert_tenant(desk.session(), name)?.ok_or_else(|| Error::ArgumentBounds {
        argument: "name",
        why: format!("There is a tenant {name:?} already."),
    })
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
fn create_tenant(name: Option<Text>) -> pgrx::Uuid {
    let result = new_tenant(name.as_deref());
    drop(name);
    sql_id(finish(result))
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn create_customer(
    first_name: Option<Text>,
    last_name: Option<Text>,
    email: default!(Option<Text>, "NULL"),
    phone_primary: default!(Option<Text>, "NULL"),
    date_of_birth: default!(Option<Date>, "NULL"),
    customer_type: default!(Option<Text>, "'individual'"),
    phone_secondary: default!(Option<Text>, "NULL"),
    address_line1: default!(Option<Text>, "NULL"),
    address_line2: default!(Option<Text>, "NULL"),
    city: default!(Option<Text>, "NULL"),
    state_province: default!(Option<Text>, "NULL"),
    postal_code: default!(Option<Text>, "NULL"),
    country_code: default!(Option<Text>, "NULL"),
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> pgrx::Uuid {
    let result = {
        let texts = Texts([
            ("first_name", first_name.as_deref(), 100),
            ("last_name", last_name.as_deref(), 100),
            ("email", email.as_deref(), 255),
            ("phone_primary", phone_primary.as_deref(), 30),
            ("customer_type", customer_type.as_deref(), 20),
            ("phone_secondary", phone_secondary.as_deref(), 30),
            ("address_line1", address_line1.as_deref(), 255),
            ("address_line2", address_line2.as_deref(), 255),
            ("city", city.as_deref(), 100),
            ("state_province", state_province.as_deref(), 100),
            ("postal_code", postal_code.as_deref(), 20),
            ("country_code", country_code.as_deref(), 2),
        ]);
        texts.check().and_then(|()| {
            let desk = Desk::open();
            let tenant_no = store::tenant_no(desk.session(), tenant.map(id))?;
            let born = date_of_birth.map(|date| date.to_pg_epoch_days());
            insert_customer(desk.session(), tenant_no, &texts, born)
        })
    };
    // An error leaves this function without unwinding: what it owns must be gone before.
    drop((first_name, last_name, email, phone_primary, customer_type, phone_secondary));
    drop((address_line1, address_line2, city, state_province, postal_code, country_code));
    sql_id(finish(result))
}
