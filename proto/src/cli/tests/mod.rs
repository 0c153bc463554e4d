mod access;
mod documents;
mod logs;
mod pages;
mod pulling;
mod studies;
