mod documents;
mod pages;
mod pulling;
