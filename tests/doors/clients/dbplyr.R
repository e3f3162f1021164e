# Statements that dbplyr generates for questions of analysts, one a line after the tool's name. The rule that refuses a
# statement stands between them, where one should.
suppressMessages({library(dplyr); library(dbplyr)})

con <- simulate_postgres()
people <- lazy_frame(borough = "", borough_name = "", person_key = "", household_key = "", age_band = "", sex = "",
                     ward = "", tenure = "", con = con, .name = "residents")
care <- lazy_frame(borough = "", need = "", weekly_cost = 1, age_band = "", con = con, .name = "social_care_clients")
damp <- lazy_frame(borough = "", month = as.Date("2024-01-01"), uprn = "", room = "", con = con, .name = "damp_sensors")
boroughs <- lazy_frame(gss = "", name = "", con = con, .name = "boroughs")

say <- function(query, rule = "") {
  # The simulated connection quotes names as MySQL does.
  sql <- gsub("`", "\"", gsub("\\s+", " ", as.character(sql_render(query))))
  cat("dbplyr", rule, sql, sep = "\t")
  cat("\n")
}

say(people %>% count(borough))
say(people %>% group_by(borough) %>% summarise(n = n_distinct(person_key)))
say(people %>% filter(tenure == "Social rented") %>% count(borough, sort = TRUE) %>% head(5))
say(people %>% filter(tenure %in% c("Social rented", "Private rented")) %>% count(tenure))
say(people %>% group_by(tenure) %>%
      summarise(n = n(), women = sum(ifelse(sex == "Female", 1L, 0L), na.rm = TRUE)) %>% mutate(share = women * 1.0 / n))
say(people %>% group_by(tenure) %>% summarise(p = mean(ifelse(sex == "Female", 1, 0), na.rm = TRUE)))
say(people %>% mutate(old = case_when(age_band == "85 and over" ~ "old", TRUE ~ "other")) %>% count(old))
say(people %>% distinct(tenure))
say(care %>% group_by(need) %>%
      summarise(m = mean(weekly_cost, na.rm = TRUE), s = sum(weekly_cost, na.rm = TRUE), sd = sd(weekly_cost, na.rm = TRUE)))
say(care %>% group_by(need) %>% summarise(q = median(weekly_cost, na.rm = TRUE)))
say(damp %>% filter(month >= "2024-01-01", month < "2024-04-01") %>% summarise(n = n_distinct(uprn)))
say(damp %>% mutate(y = year(month)) %>% group_by(y) %>% summarise(n = n_distinct(uprn)), "derived-value")
say(people %>% count(borough) %>% left_join(boroughs, by = c("borough" = "gss")) %>% arrange(name))
say(people %>% inner_join(boroughs, by = c("borough" = "gss")) %>% count(name))
say(boroughs %>% left_join(people %>% count(borough), by = c("gss" = "borough")))
say(people %>% count(tenure) %>% mutate(share = n / sum(n, na.rm = TRUE)))
say(people %>% filter(grepl("rented", tenure)) %>% count(tenure))
say(people %>% filter(substr(tenure, 1, 3) == "Own") %>% count(tenure))
say(people %>% head(0))
say(people %>% tally())
say(people %>% group_by(borough) %>% summarise(n = n()) %>% filter(n > 100) %>% slice_max(n, n = 3))
say(people %>% summarise(k = n_distinct(tenure)))
say(people %>% head(5), "rows-stay-home")
