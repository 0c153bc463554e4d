mod documents;
mod pages;
mod pulling;
mod studies;
