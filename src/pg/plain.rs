//! Whether a table is as the installation made it: what the access methods would pass by, looked up in the catalogs.
//!
//! Every look-up goes through [`catch`]: any of them may read a catalog, and be cancelled there.

use super::compat;
use super::ereport::catch;
use super::raw;
use super::table::{Column, Index, MAX_INDEXES, Method, Only, Shape};
use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// The indexes in the order of the shape's, where they are those and no others.
///
/// # Safety
/// The relation is open.
pub(super) unsafe fn find_indexes(
    relation: pg_sys::Relation,
    shape: &Shape,
) -> Result<Option<[pg_sys::Oid; MAX_INDEXES]>, Error> {
    // SAFETY: the list is ours to free; each index is open while it is looked at.
    unsafe {
        let list = catch(|| raw::RelationGetIndexList(relation)).map_err(Error::Server)?;
        let count = list.as_ref().map_or(0, |list| list.length as usize);
        let mut found = [pg_sys::InvalidOid; MAX_INDEXES];
        for at in 0..count {
            let oid = (*(*list).elements.add(at)).oid_value;
            let opened = catch(|| raw::index_open(oid, pg_sys::AccessShareLock as i32));
            let index = opened.map_err(Error::Server)?;
            let conditions = catch(|| raw::RelationGetIndexPredicate(index)).map_err(Error::Server)?;
            let place = shape.indexes.iter().position(|wanted| is_as_made(index, conditions, wanted));
            pg_sys::index_close(index, pg_sys::NoLock as i32);
            if let Some(place) = place {
                found[place] = oid;
            }
        }
        pg_sys::list_free(list);
        let all = found[..shape.indexes.len()].iter().all(|oid| *oid != pg_sys::InvalidOid);
        Ok((all && count == shape.indexes.len()).then_some(found))
    }
}

/// # Safety
/// The index is open.
unsafe fn is_as_made(index: pg_sys::Relation, conditions: *const pg_sys::List, wanted: &Index) -> bool {
    // SAFETY: an index's relation has its form; its key numbers follow it, as many as it says.
    unsafe {
        let form = &*(*index).rd_index;
        let keys = form.indkey.values.as_slice(form.indnatts as usize);
        let method = match wanted.method {
            Method::BTree => pg_sys::BTREE_AM_OID,
            Method::Gin => pg_sys::GIN_AM_OID,
        };
        (*(*index).rd_rel).relam == method
            && form.indnatts == form.indnkeyatts
            && keys.len() == wanted.keys.len()
            && keys.iter().zip(wanted.keys).all(|(found, wanted)| *found as usize == *wanted)
            && form.indisunique == wanted.unique
            && form.indimmediate
            && form.indisvalid
            && form.indisready
            && has_condition(conditions, wanted.only)
    }
}

/// # Safety
/// The conditions are those of an open index.
unsafe fn has_condition(conditions: *const pg_sys::List, wanted: Option<Only>) -> bool {
    // SAFETY: the list is of expressions; one that is tagged as a test of null or as a column is one.
    unsafe {
        let Some(conditions) = conditions.as_ref() else { return wanted.is_none() };
        let test = (*conditions.elements).ptr_value.cast::<pg_sys::NullTest>();
        if conditions.length != 1 || (*test).xpr.type_ != pg_sys::NodeTag::T_NullTest {
            return false;
        }
        let column = (*test).arg.cast::<pg_sys::Var>();
        if (*column).xpr.type_ != pg_sys::NodeTag::T_Var {
            return false;
        }
        let column = (*column).varattno as usize;
        match wanted {
            None => false,
            Some(Only::Null(wanted)) => {
                column == wanted && (*test).nulltesttype == pg_sys::NullTestType::IS_NULL
            }
            Some(Only::NotNull(wanted)) => {
                column == wanted && (*test).nulltesttype == pg_sys::NullTestType::IS_NOT_NULL
            }
        }
    }
}

/// Whether the publications of the table, if any, can tell which row was updated.
///
/// # Safety
/// The relation is open.
unsafe fn can_replicate(relation: pg_sys::Relation) -> Result<bool, Error> {
    // SAFETY: the server fills the description.
    unsafe {
        let form = &*(*relation).rd_rel;
        let is_full = form.relreplident == pg_sys::REPLICA_IDENTITY_FULL as c_char;
        let looked_up = catch(|| {
            let mut published = std::mem::MaybeUninit::<pg_sys::PublicationDesc>::zeroed();
            raw::RelationBuildPublicationDesc(relation, published.as_mut_ptr());
            (published.assume_init(), raw::RelationGetReplicaIndex(relation))
        });
        let (published, index) = looked_up.map_err(Error::Server)?;
        Ok((is_full || index != pg_sys::InvalidOid)
            && published.rf_valid_for_update
            && published.cols_valid_for_update)
    }
}

/// # Safety
/// The relation is open.
pub(super) unsafe fn obstacle(
    relation: pg_sys::Relation,
    shape: &Shape,
    has_indexes: bool,
) -> Result<Option<String>, Error> {
    // SAFETY: the relation's descriptors are valid while it is open.
    unsafe {
        let form = &*(*relation).rd_rel;
        let constraints = (*(*relation).rd_att).constr.as_ref();
        let name = shape.full_name();
        let found = if form.relkind != pg_sys::RELKIND_RELATION as c_char {
            "is not an ordinary table".to_owned()
        } else if form.relam != pg_sys::HEAP_TABLE_AM_OID {
            "has another access method than heap".to_owned()
        } else if form.relispartition || has_children(relation)? {
            "is part of an inheritance tree".to_owned()
        } else if !can_replicate(relation)? {
            "has no replica identity, or not the one that its publication needs".to_owned()
        } else if form.relrowsecurity {
            "has row security".to_owned()
        } else if !(*relation).rd_rules.is_null() {
            "has a rule".to_owned()
        } else if constraints.is_some_and(|has| has.num_check > 0 || has.has_generated_stored) {
            "has a CHECK or a generated column".to_owned()
        } else if !has_columns(relation, shape.columns) {
            "has other columns than the extension gave it".to_owned()
        } else if let Some(trigger) = foreign_trigger(relation, shape)? {
            format!("has trigger {trigger}")
        } else if !has_indexes {
            "has other indexes than the extension gave it".to_owned()
        } else {
            return Ok(None);
        };
        Ok(Some(format!("{name} {found}")))
    }
}

/// # Safety
/// The relation is open.
unsafe fn has_children(relation: pg_sys::Relation) -> Result<bool, Error> {
    // SAFETY: a catalog look-up; the list is null where it is empty.
    unsafe {
        if !(*(*relation).rd_rel).relhassubclass {
            return Ok(false);
        }
        let table = (*relation).rd_id;
        let children = catch(|| raw::find_inheritance_children(table, pg_sys::NoLock as i32));
        Ok(!children.map_err(Error::Server)?.is_null())
    }
}

/// # Safety
/// The relation is open.
unsafe fn has_columns(relation: pg_sys::Relation, wanted: &[Column]) -> bool {
    // SAFETY: no more columns are looked at than there are.
    unsafe {
        let shape = (*relation).rd_att;
        (*shape).natts as usize == wanted.len()
            && wanted.iter().enumerate().all(|(at, column)| {
                let found = &*compat::attribute(shape, at);
                found.attnotnull == column.not_null
                    && !found.attisdropped
                    && column.oid.is_none_or(|oid| oid == found.atttypid)
            })
    }
}

/// A trigger that the installation did not make, or "without" and the name of its own where that is gone. Those that
/// watch for foreign keys pointing here do not count: they look at keys, which no posting changes. Nor do those that no
/// write by access methods would fire.
///
/// # Safety
/// The relation is open.
unsafe fn foreign_trigger(relation: pg_sys::Relation, shape: &Shape) -> Result<Option<String>, Error> {
    let own = shape.trigger;
    // SAFETY: as many triggers as the descriptor says.
    unsafe {
        let missing = || Some(format!("{:?} missing", own.to_string_lossy()));
        let Some(descriptor) = (*relation).trigdesc.as_ref() else { return Ok(missing()) };
        let triggers = std::slice::from_raw_parts(descriptor.triggers, descriptor.numtriggers as usize);
        let mut has_own = false;
        for trigger in triggers {
            let is_for_rows = u32::from(trigger.tgtype as u16) & pg_sys::TRIGGER_TYPE_ROW != 0;
            let name = CStr::from_ptr(trigger.tgname);
            if !is_for_rows && calls_own(trigger, own)? {
                has_own |= name == own;
            } else if fires(trigger, shape) && !watches_keys(trigger)? {
                return Ok(Some(format!("{:?}", name.to_string_lossy())));
            }
        }
        Ok(if has_own { None } else { missing() })
    }
}

/// Whether a statement with the same effect as a write by access methods would fire the trigger.
///
/// # Safety
/// The trigger is of an open relation.
unsafe fn fires(trigger: &pg_sys::Trigger, shape: &Shape) -> bool {
    let Some(updated) = shape.only_updated else { return true };
    if u32::from(trigger.tgtype as u16) & pg_sys::TRIGGER_TYPE_UPDATE == 0 {
        return false;
    }
    if trigger.tgnattr == 0 {
        return true;
    }
    // SAFETY: as many columns as the trigger says.
    let columns = unsafe { std::slice::from_raw_parts(trigger.tgattr, trigger.tgnattr as usize) };
    columns.iter().any(|column| updated.contains(&(*column as usize)))
}

/// Whether the trigger's function is the extension's of that name.
///
/// # Safety
/// The trigger is of an open relation.
unsafe fn calls_own(trigger: &pg_sys::Trigger, own: &CStr) -> Result<bool, Error> {
    let function = trigger.tgfoid;
    // SAFETY: the name, where there is one, is a copy that lives as long as the transaction.
    unsafe {
        let looked_up = catch(|| {
            let schema = raw::get_namespace_oid(c"neobank".as_ptr(), true);
            (raw::get_func_name(function), raw::get_func_namespace(function) == schema)
        });
        let (name, is_ours) = looked_up.map_err(Error::Server)?;
        Ok(is_ours && !name.is_null() && CStr::from_ptr(name) == own)
    }
}

/// # Safety
/// The trigger is of an open relation.
unsafe fn watches_keys(trigger: &pg_sys::Trigger) -> Result<bool, Error> {
    let function = trigger.tgfoid;
    // SAFETY: a look-up among constants.
    let of_keys = unsafe { catch(|| raw::RI_FKey_trigger_type(function)) }.map_err(Error::Server)?;
    Ok(trigger.tgisinternal && of_keys == pg_sys::RI_TRIGGER_PK as i32)
}
